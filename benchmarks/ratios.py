"""The arithmetic of the benchmark: windows, rounds A-B-B-A, runs, what is void, ratios with their spread. Pure."""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from statistics import fmean, median
from typing import Any

CPU_MOST = 0.8  # a generator that uses more of its core measures itself


@dataclass(frozen=True, slots=True)
class Window:
    """What one side did in one stretch of time. `facts` are absolute figures; `void` says why none of it counts."""

    side: str
    figure: float
    unit: str
    facts: dict[str, Any] = field(default_factory=dict)
    void: str | None = None


@dataclass(frozen=True, slots=True)
class Round:
    """Four windows A-B-B-A, so that what drifts slowly (heat, caches, neighbours) weighs on both sides alike."""

    name: str
    windows: tuple[Window, Window, Window, Window]
    load: float

    @property
    def void(self) -> str | None:
        return next((window.void for window in self.windows if window.void), None)

    @property
    def ratio(self) -> float | None:
        """A over B; None when the round is void."""
        first, second, third, fourth = (window.figure for window in self.windows)
        return None if self.void else fmean((first, fourth)) / fmean((second, third))

    def as_json(self) -> dict[str, Any]:
        return _json(self)


@dataclass(frozen=True, slots=True)
class Run:
    """One window that is compared with nothing: an absolute figure, which counts for its machine only."""

    name: str
    window: Window
    load: float
    ratio: None = None

    @property
    def windows(self) -> tuple[Window]:
        return (self.window,)

    @property
    def void(self) -> str | None:
        return self.window.void

    def as_json(self) -> dict[str, Any]:
        return _json(self)


Measured = Round | Run


def _json(one: Measured) -> dict[str, Any]:
    windows = [asdict(window) for window in one.windows]
    return {"name": one.name, "ratio": one.ratio, "void": one.void, "load": one.load, "windows": windows}


def said(one: Measured) -> str:
    """What a round has found, in a few words."""
    if one.void:
        return f"void, {one.void}"
    return f"{one.window.figure:,.0f} {one.window.unit}" if isinstance(one, Run) else f"{one.ratio:.2f}"


def why_void(cpu_share: float, answered: int, refused: int) -> str | None:
    """Why a window under a load generator does not count; None when it does."""
    if cpu_share >= CPU_MOST:
        return f"the generator used {cpu_share:.0%} of a core"
    if refused:
        return f"{refused} requests were refused"
    return None if answered else "nothing was answered"


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, least and most of the ratios of several rounds."""
    found = sorted(values)
    return {"median": median(found), "min": found[0], "max": found[-1]}


def ratios(rounds: Iterable[Measured]) -> dict[str, dict[str, float]]:
    """Every ratio that has a round that counts."""
    return _spreads((one.name, one.ratio) for one in rounds if one.ratio is not None)


def figures(rounds: Iterable[Measured]) -> dict[str, dict[str, float]]:
    """Every absolute figure that has a run that counts."""
    return _spreads((one.name, one.window.figure) for one in rounds if isinstance(one, Run) and not one.void)


def _spreads(values: Iterable[tuple[str, float]]) -> dict[str, dict[str, float]]:
    found: dict[str, list[float]] = {}
    for name, value in values:
        found.setdefault(name, []).append(value)
    return {name: spread(values) for name, values in found.items()}
