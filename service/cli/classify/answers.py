"""What `classify` writes for one ticket: its id, and per field the label, how sure, and what to do."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.cascade import Decision

KEYS = ("label", "confidence", "calibrated", "action", "reason", "llms")
Shown = dict[str, dict[str, Any]]


def shown(decisions: "Mapping[str, Decision]") -> Shown:
    """field -> what people read of its decision."""
    return {name: {key: getattr(decision, key) for key in KEYS} for name, decision in decisions.items()}


def row(ticket: dict[str, Any], found: Shown, *, flat: bool) -> dict[str, Any]:
    """One line of the output; `flat` has a column for each value, without the list of llms."""
    identity = {"id": ticket.get("id", ticket.get("external_id"))}
    if not flat:
        return identity | {"triage": found}
    return identity | {f"{name}_{key}": answer[key] for name, answer in found.items() for key in KEYS[:-1]}
