"""Charts as shapes with places, for a file that runs no script: `report_drawn.html` writes them as SVG. Pure.

Called by `document`. Every chart stands above a table with the same numbers.
"""

import math
from dataclasses import dataclass, field
from typing import Any

from service.pages.shown import milliseconds

COLOURS = ("main", "warn", "good", "bad")
WIDTH = 720
LONGEST = 30  # characters of a name; the table has it whole


@dataclass(frozen=True, slots=True)
class Text:
    """Words that begin, end or have their middle at a place."""

    x: float
    y: float
    words: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Bar:
    """A filled rectangle."""

    x: float
    y: float
    width: float
    height: float
    colour: str


@dataclass(frozen=True, slots=True)
class Curve:
    """Points joined by a line."""

    points: list[tuple[float, float]]
    colour: str


@dataclass
class Drawing:
    """Everything to be drawn, in a box of so many units; `grid` holds lines as (x1, y1, x2, y2)."""

    height: float
    width: float = WIDTH
    grid: list[tuple[float, float, float, float]] = field(default_factory=list)
    texts: list[Text] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)

    def legend(self, names: list[str], left: float) -> None:
        """Which colour is whose, from the top down."""
        for at, name in enumerate(names):
            self.bars.append(Bar(left, 6 + 18 * at, 12, 12, COLOURS[at % len(COLOURS)]))
            self.texts.append(Text(left + 18, 16 + 18 * at, plain(name)))


def plain(name: str) -> str:
    """A name as a drawing can hold it: short, and without characters that nobody would see."""
    seen = "".join(c if c.isprintable() else "\ufffd" for c in name)
    return seen if len(seen) <= LONGEST else f"{seen[: LONGEST - 1]}…"


def curves(llms: list[dict[str, Any]]) -> Drawing | None:
    """Accuracy over the share of tickets decided without a person, a curve for each llm; None without a point."""
    named = {f"{llm['llm']} {llm['digest'][:6]}": llm["coverage"] for llm in llms if llm["coverage"]}
    if not named:
        return None
    top, left, plot = 14 + 18 * len(named), 60, 220
    step, lowest = _scale(min(row["value"] for rows in named.values() for row in rows))
    drawing = Drawing(height=top + plot + 46)
    drawing.legend(list(named), left)
    across, up = WIDTH - left - 40, plot / (1 - lowest)
    for number in range(round((1 - lowest) / step) + 1):
        y = top + plot - number * step * up
        drawing.grid.append((left, y, left + across, y))
        drawing.texts.append(Text(left - 8, y + 4, f"{(lowest + number * step) * 100:.0f} %", "end"))
    for number in range(0, 11, 2):
        drawing.texts.append(Text(left + across * number / 10, top + plot + 18, f"{number * 10} %", "middle"))
    drawing.texts.append(Text(left + across / 2, top + plot + 38, "share of tickets, the surest first", "middle"))
    for at, rows in enumerate(named.values()):
        points = [(left + row["coverage"] * across, top + (1 - row["value"]) * up) for row in rows]
        drawing.curves.append(Curve(points, COLOURS[at % len(COLOURS)]))
    return drawing


def _scale(least: float) -> tuple[float, float]:
    """The step of an axis up to 1, five of them at most, and where it begins, so that the least value has room."""
    step = next(step for step in (0.02, 0.05, 0.1, 0.2) if 1 - least <= 5.001 * step)
    return step, 1 - step * max(1, math.ceil((1 - least) / step - 0.001))


def bars(latency: list[dict[str, Any]]) -> Drawing | None:
    """Median and 95th percentile of each part on a logarithmic axis; None where nothing was measured."""
    if not latency:
        return None
    top, left, row_height = 50, 230, 30
    powers = max(1, math.ceil(_powers(max(row["p95"] for row in latency))))
    drawing = Drawing(height=top + row_height * len(latency) + 24)
    drawing.legend(["median", "95th percentile"], left)
    across = (WIDTH - left - 80) / powers
    foot = top + row_height * len(latency)
    for power in range(powers + 1):
        drawing.grid.append((left + power * across, top, left + power * across, foot))
        drawing.texts.append(Text(left + power * across, foot + 18, f"{10**power / 10:,g} ms", "middle"))
    for at, row in enumerate(latency):
        drawing.texts.append(Text(left - 8, top + row_height * at + 19, plain(row["name"]), "end"))
        for place, (name, colour) in enumerate((("p50", "main"), ("p95", "warn"))):
            y = top + row_height * at + 4 + 11 * place
            length = across * _powers(row[name])
            drawing.bars.append(Bar(left, y, length, 10, colour))
            drawing.texts.append(Text(left + length + 5, y + 9, milliseconds(row[name])))
    return drawing


def _powers(value: float) -> float:
    """How many powers of ten above a tenth of a millisecond, where the axis begins."""
    return math.log10(max(value, 0.1) / 0.1)
