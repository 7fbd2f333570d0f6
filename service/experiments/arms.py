"""What a report says of an experiment in mode split: each arm, whether the halves are even, and A against B.

Called by `report`. Every ticket counts for the arm that it was assigned to, whatever served it in the end.
"""

from dataclasses import asdict
from typing import Any

from sqlalchemy import RowMapping

from models import clusters
from models.clusters import Sums
from service.experiments import queries, split
from service.experiments.figures import Figures, actions, quantiles

ASSIGNED = "tickets by the arm that their requester was assigned to"


class Halves:
    """The arms of one report, read from the same rows everywhere in it."""

    def __init__(self, figures: Figures):
        self.rows = {row["arm"]: row for row in figures.rows(queries.ARMS)}
        self.judged: dict[str, dict[str, Sums]] = {}
        for row in figures.rows(queries.ARM_ACCURACY):
            self.judged.setdefault(row["source"], {})[row["arm"]] = _sums(row)
        self.balance = split.balance(self._units("a"), self._units("b"), self._unserved())

    def _unserved(self) -> str | None:
        told = (split.unserved(name, row["served_as_assigned"], row["decided"]) for name, row in self.rows.items())
        return next(filter(None, told), None)

    def _units(self, arm: str) -> int:
        return self.rows[arm]["units"] if arm in self.rows else 0

    def arms(self) -> dict[str, Any]:
        return {arm: _arm(row) | {"accuracy": self._accuracy(arm)} for arm, row in sorted(self.rows.items())}

    def _accuracy(self, arm: str) -> list[dict[str, Any]]:
        found = [(source, of[arm]) for source, of in self.judged.items() if arm in of]
        return [{"source": source} | asdict(clusters.share(sums)) for source, sums in found]

    def split(self) -> list[dict[str, Any]]:
        return [{"source": source, "over": ASSIGNED} | self._compared(of) for source, of in self.judged.items()]

    def _compared(self, of: dict[str, Sums]) -> dict[str, Any]:
        return asdict(split.compare(of.get("a", Sums()), of.get("b", Sums()), self.balance))


def _sums(row: RowMapping) -> Sums:
    return Sums(**{name: row[name] for name in ("clusters", "n", "successes", "n_n", "n_s", "s_s")})


def _arm(row: RowMapping) -> dict[str, Any]:
    counts = {name: row[name] for name in ("tickets", "units", "decided", "served_as_assigned")}
    return counts | {"actions": actions(row), "times": {"time_to_label_ms": quantiles(row, "time_to_label_ms")}}
