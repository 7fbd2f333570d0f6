"""The arithmetic of the benchmark: windows, rounds A-B-B-A, void rounds, ratios with their spread. Pure."""

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
        windows = [asdict(window) for window in self.windows]
        return {"name": self.name, "ratio": self.ratio, "void": self.void, "load": self.load, "windows": windows}


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


def ratios(rounds: Iterable[Round]) -> dict[str, dict[str, float]]:
    """Every ratio that has a round that counts."""
    found: dict[str, list[float]] = {}
    for one in rounds:
        if one.ratio is not None:
            found.setdefault(one.name, []).append(one.ratio)
    return {name: spread(values) for name, values in found.items()}
