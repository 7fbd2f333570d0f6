"""How far the counts of a report are behind its rows, and which of its tickets are deleted. Called by `report`."""

from typing import Any

from sqlalchemy.orm import Session

from models.moment import moment
from service.experiments.assignment import Experiment
from service.experiments.rollups.counts import merged
from service.experiments.rollups.roll import behind
from service.experiments.rollups.window import Counted, Cut


def counted(session: Session, cut: Cut, found: Counted, experiment: Experiment) -> dict[str, Any]:
    """As JSON, with a sentence for each thing that whoever reads the figures should know."""
    late = behind(session, cut.first, cut.end)
    frozen = _frozen(cut, found)
    told = [_late(int(late["behind_hours"]), late["behind_s"])] if late["behind_hours"] else []
    if frozen is not None:
        told.append(_deleted(frozen))
        told += [PART] if any(since < found.frozen for since, _ in cut.pieces() if found.frozen) else []
        told += [WITHOUT] if experiment.mode == "split" else []
    return late | {"deleted": frozen, "notes": told, "times": ROUNDED}


def _frozen(cut: Cut, found: Counted) -> dict[str, Any] | None:
    if found.frozen is None or found.frozen <= cut.since:
        return None
    return {"tickets": sum(merged(found.tickets.values()).values()), "before": moment(found.frozen)}


def _late(behind_hours: int, behind_s: float) -> str:
    hours = "1 hour" if behind_hours == 1 else f"{behind_hours:,} hours"
    return f"Changes in {hours} are not counted yet, the oldest from {behind_s:,.0f} s ago; the API process is on it."


def _deleted(frozen: dict[str, Any]) -> str:
    tickets = "1 ticket" if frozen["tickets"] == 1 else f"{frozen['tickets']:,} tickets"
    return (
        f"{tickets} received before {frozen['before']} are counted as they stood when old tickets were deleted; "
        "nothing of that time is counted again."
    )


ROUNDED = (
    "Medians and 95th percentiles are of times rounded to three significant digits, those of a split's arms exact."
)
PART = "The window cuts an hour whose tickets were deleted: of such an hour there is no part, so it is left out."
WITHOUT = "The arms are read from the tickets themselves, so those that were deleted are not in them."
