"""An evaluation as one HTML file: its styles and diagrams inside, no script, nothing asked of any host.

Made for `triage evaluate --html`, from the same figures as its table.
"""

from typing import Any

from markupsafe import Markup

from service.pages import page, plot, told
from service.pages.document import POLICY, STYLES
from service.pages.plot import Bar, Curve, Drawing, Text

TOP, LEFT, SIDE = 54, 60, 330
THICK = 8


def render(found: dict[str, Any]) -> str:
    """The file's text; `found` is what `evaluate --json` writes."""
    fields = {name: _of(found, name) for name in dict.fromkeys(one["field"] for one in found["results"])}
    plots = {f"coverage-{name}": _coverage(results) for name, results in fields.items()}
    plots |= {f"reliability-{at}": reliability(one["reliability"]) for at, one in enumerate(found["results"])}
    style = Markup("<style>{}</style>").format(Markup(STYLES))  # noqa: S704 (two files of ours)
    values = {"found": found, "fields": fields, "plots": plots, "style": style, "policy": POLICY, "told": told.rows}
    return page.templates.get_template("evaluation.html").render(values)


def _of(found: dict[str, Any], field: str) -> list[dict[str, Any]]:
    """The results of one field, each with its place among all, which names its diagram."""
    return [one | {"at": at} for at, one in enumerate(found["results"]) if one["field"] == field]


def _coverage(results: list[dict[str, Any]]) -> Drawing | None:
    return plot.curves([{"llm": one["llm"], "digest": "", "coverage": one["coverage"]} for one in results])


def reliability(bins: list[dict[str, Any]]) -> Drawing | None:
    """Accuracy over confidence with the diagonal, and behind it where right confidences would put 95 % of the bins."""
    if not bins:
        return None
    lowest = min(min(row["confidence"], row["accuracy"], row["low"]) for row in bins)
    begin = min(0.9, int(lowest * 10) / 10)
    scale = SIDE / (1 - begin)
    drawing = Drawing(height=TOP + SIDE + 46, width=LEFT + SIDE + 30)
    drawing.legend(["accuracy of a bin", "95 % consistency bar"], LEFT)
    foot = TOP + SIDE
    drawing.grid.append((LEFT, foot, LEFT + SIDE, TOP))
    for tenth in range(round(begin * 10), 11):
        _tick(drawing, tenth * 10, (tenth / 10 - begin) * scale)
    drawing.texts.append(Text(LEFT + SIDE / 2, foot + 38, "confidence", "middle"))
    for row in bins:
        across, above = LEFT + (row["confidence"] - begin) * scale, foot - (row["high"] - begin) * scale
        drawing.bars.append(Bar(across - THICK / 2, above, THICK, (row["high"] - row["low"]) * scale, "warn"))
    points = [(LEFT + (r["confidence"] - begin) * scale, foot - (r["accuracy"] - begin) * scale) for r in bins]
    drawing.curves.append(Curve(points, "main"))
    return drawing


def _tick(drawing: Drawing, percent: int, along: float) -> None:
    """One line up and one across, with its number at both axes."""
    foot = TOP + SIDE
    drawing.grid += [(LEFT, foot - along, LEFT + SIDE, foot - along), (LEFT + along, TOP, LEFT + along, foot)]
    drawing.texts.append(Text(LEFT - 8, foot - along + 4, f"{percent} %", "end"))
    drawing.texts.append(Text(LEFT + along, foot + 18, f"{percent}", "middle"))
