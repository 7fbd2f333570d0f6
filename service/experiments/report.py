"""The A/B report of an experiment: which tickets it covers, its figures, and what may be concluded from them.

Called by the API, the pages and `triage report`. Only the newest run of a ticket counts, and of a ticket's verdicts the
newest of each source. Medians and 95th percentiles are those of times rounded to three significant digits; in a split,
those of its arms are exact.
"""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from models.db import transaction
from models.moment import moment
from service.experiments import split, stats
from service.experiments.arms import ASSIGNED, Halves
from service.experiments.assignment import Experiment
from service.experiments.behind import counted
from service.experiments.figures import SHADOWED, Figures, in_time
from service.experiments.rollups import window as rollups
from service.experiments.rollups.count import EXHAUSTIVE as EXHAUSTIVE
from service.experiments.rollups.roll import roll
from service.experiments.rollups.window import Cut
from service.experiments.stats import Verdict, Word

CATCH_UP_S = 6.0  # half of it for the newest hour, which takes some hundredths of a second where little happens
WHY_NOT_ACCURACY = (
    "Other sources judge only where somebody chose to look, mostly at mistakes: a count and a rate, never accuracy."
)


@dataclass(frozen=True)
class Window:
    """Tickets received from `since` (inclusive) to `until` (exclusive); None is open."""

    since: datetime | None = None
    until: datetime | None = None

    def within(self, experiment: Experiment) -> "Window":
        """What of the window the experiment ran in."""
        begins = [at for at in (self.since, experiment.since) if at is not None]
        ends = [at for at in (self.until, experiment.until) if at is not None]
        return Window(max(begins, default=None), min(ends, default=None))


def build(engine: Engine, experiment: Experiment, window: Window, *, catch_up_s: float | None = None) -> dict[str, Any]:
    """The whole report as JSON: arm A against arm B, over the experiment's tickets; the implied one has them all.

    What has changed is counted first, as far as CATCH_UP_S or `catch_up_s` goes; then all is read from one snapshot.
    """
    covered = window.within(experiment)
    cut = Cut.of(covered.since, covered.until)
    roll(engine, catch_up_s or CATCH_UP_S, cut.first, cut.end)
    with transaction(engine.execution_options(isolation_level="REPEATABLE READ")) as session, in_time():
        return _read(session, experiment, covered, cut)


def _read(session: Session, experiment: Experiment, covered: Window, cut: Cut) -> dict[str, Any]:
    given = _given(experiment)
    found = rollups.read(session, cut, given["experiment"], experiment.field)
    figures = Figures(session, asdict(covered) | given, found)
    return {
        "experiment": _described(experiment),
        "field": experiment.field,
        "since": moment(covered.since),
        "until": moment(covered.until),
        "generated_at": moment(datetime.now(UTC)),
        "counted": counted(session, cut, found, experiment),
        "tickets": figures.tickets(),
        "taxonomy_versions": figures.taxonomy_versions(),
        **_compared(figures, experiment),
        "llms": figures.llms(),
        "cascade": figures.cascade(),
        "drawn": figures.drawn() if experiment.mode == "shadow" and experiment.b else None,
        "corrections": figures.corrections(),
        "sources": {"accuracy": list(EXHAUSTIVE), "counted_only": WHY_NOT_ACCURACY},
    }


def _given(experiment: Experiment) -> dict[str, Any]:
    given = {"experiment": None if experiment.implied else experiment.name, "field": experiment.field}
    return given | {"exhaustive": list(EXHAUSTIVE)} | _primaries(experiment)


def _primaries(experiment: Experiment) -> dict[str, str | None]:
    return {"a": experiment.a.primary, "b": experiment.b.primary if experiment.b else None}


def _described(experiment: Experiment) -> dict[str, Any]:
    named: dict[str, Any] = {name: getattr(experiment, name) for name in ("name", "implied", "mode", "field")}
    named |= {"since": moment(experiment.since), "until": moment(experiment.until)} | _primaries(experiment)
    return named | {"arms": {"a": experiment.a.model_dump(), "b": experiment.b.model_dump() if experiment.b else None}}


def _compared(figures: Figures, experiment: Experiment) -> dict[str, Any]:
    """A against B in the way of the experiment's mode; the other mode's parts are there and empty."""
    pairs: list[dict[str, Any]] = []
    apart: list[dict[str, Any]] = []
    arms, balance = {}, None
    if experiment.mode == "split":
        halves = Halves(figures)
        arms, balance, apart = halves.arms(), asdict(halves.balance), halves.split()
    else:
        pairs = figures.pairs()
    concluded = [_conclusion(row) for row in pairs + apart] or [_without_verdicts(experiment)]
    return {"conclusions": concluded, "pair": pairs, "arms": arms, "balance": balance, "split": apart}


def _conclusion(row: dict[str, Any]) -> dict[str, Any]:
    about = {name: row.get(name) for name in ("source", "over", "digest_a", "digest_b")}
    return {**about, **row["verdict"]}


def _without_verdicts(experiment: Experiment) -> dict[str, Any]:
    """What is concluded before the first verdict that counts."""
    nobody = split.verdict(split.NOBODY, split.NOBODY, split.balance(0, 0))
    found = nobody if experiment.mode == "split" else stats.verdict(0, 0, 0)
    if experiment.b is None:
        found = Verdict(Word.NO_EVIDENCE, "The policy has no fallback, so there is nothing to compare.")
    over = ASSIGNED if experiment.mode == "split" else SHADOWED
    return _conclusion({"source": None, "over": over, "verdict": asdict(found)})
