"""The figures of one report: counts from `rollups`, shares and intervals from `models.metrics`. Called by `report`."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from operator import itemgetter
from typing import Any

from psycopg.errors import QueryCanceled
from sqlalchemy import RowMapping, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from models import metrics
from models.errors import Unavailable
from models.metrics import Proportion
from service.experiments import queries, stats
from service.experiments.rollups.count import TICKET_TIMES, TIMES
from service.experiments.rollups.counts import Counts, Spread, leaves, merged, surest
from service.experiments.rollups.window import Counted

CONFUSIONS_SHOWN = 20
ROLES = ("primary", "fallback", "shadow", "last_resort")
REASONS = ("assigned", "shadow", "escalated", "failure")
STATUSES = ("queued", "working", "done", "failed")
CELLS = ("both_right", "only_a", "only_b", "neither")
PIN = ("name", "digest", "engine", "engine_version", "prompt_version", "calibration_id", "demo")
TOO_LONG = "The report took longer than is allowed; ask for fewer days with since and until, or when less is going on."
SHADOWED = "tickets whose shadow coin said yes"


@contextmanager
def in_time() -> Iterator[None]:
    """Raises Unavailable where Postgres stops a query at its statement_timeout."""
    try:
        yield
    except OperationalError as error:
        if isinstance(error.orig, QueryCanceled):
            raise Unavailable(TOO_LONG) from error
        raise


class Figures:
    """The counts of one report; `given` holds the parameters of what is read from rows."""

    def __init__(self, session: Session, given: dict[str, Any], counted: Counted):
        self.session = session
        self.given = given
        self.counted = counted
        self.counts = merged(counted.field.values())
        self.kept = merged(counted.tickets.values())
        self.pins = {row["id"]: row for row in self.rows(queries.LLMS)}

    def rows(self, query: str) -> Sequence[RowMapping]:
        return self.session.execute(text(query), self.given).mappings().all()

    def tickets(self) -> dict[str, int]:
        """By status: those whose rows are there as they stand now, the others as they stood."""
        now = {row["status"]: row["n"] for row in self.rows(queries.TICKETS)}
        counts = {status: now.get(status, 0) + self.kept.get(status, 0) for status in STATUSES}
        return {"received": sum(counts.values())} | counts

    def taxonomy_versions(self) -> list[int]:
        return sorted(map(int, self.counts.get("taxonomies", {})))

    def llms(self) -> list[dict[str, Any]]:
        found = sorted((int(number), counts) for number, counts in self.counts.get("llms", {}).items())
        return [_llm(self.pins[number], counts) for number, counts in found]

    def cascade(self) -> dict[str, Any]:
        counts = self.counts.get("cascade", {})
        return {
            "n": counts.get("n", 0),
            "escalated": figure(metrics.proportion(counts.get("escalated", 0), counts.get("asked", 0))),
            "actions": {name: counts.get(name, 0) for name in ACTIONS},
            "accuracy": _accuracy(self.counts),
            "times": _times(counts, TICKET_TIMES),
        }

    def pairs(self) -> list[dict[str, Any]]:
        """By name and digest, whatever role each llm has in the policy now: roles change, old tickets keep theirs."""
        ours = [(source, *pair) for source, pair in self._pairs(self.counts) if source]
        ours.sort(key=lambda one: (one[0], -sum(one[3].values()), one[1]["id"], one[2]["id"]))
        return [_pair(*one) for one in ours]

    def drawn(self) -> dict[str, int]:
        """Tickets drawn by the coin for this comparison, and those of them that both llms answered."""
        one = self.counted.field.get(self.given["experiment"] or "", {})
        both = sum(cells["answered"] for source, (_, _, cells) in self._pairs(one) if not source)
        return {"drawn": one.get("cascade", {}).get("drawn", 0), "answered_by_both": both}

    def corrections(self) -> list[dict[str, Any]]:
        found = sorted(self.counts.get("corrections", {}).items())
        return [
            {"source": source, "n": row["n"], "changed": figure(metrics.proportion(row["n"] - row["right"], row["n"]))}
            for source, row in found
        ]

    def _pairs(self, counts: Counts) -> Iterator[tuple[str, tuple[RowMapping, RowMapping, Counts]]]:
        """Of A with B, in this order."""
        a, b = self.given["a"], self.given["b"]
        for source, low, high, cells in leaves(counts.get("pairs", {}), 3):
            one, other = self.pins[int(low)], self.pins[int(high)]
            if (one["name"], other["name"]) == (a, b):
                yield source, (one, other, cells)
            elif (other["name"], one["name"]) == (a, b):
                yield source, (other, one, _turned(cells))


ACTIONS = ("automate", "suggest", "review")


def actions(row: RowMapping) -> dict[str, int]:
    """How many tickets were to be automated, suggested, reviewed."""
    return {name: row[name] for name in ACTIONS}


def quantiles(row: RowMapping, name: str) -> dict[str, Any]:
    """The median and 95th percentile of one time and over how many."""
    return {k: row[f"{name}_{k}"] for k in ("n", "p50", "p95")}


def figure(found: Proportion) -> dict[str, Any]:
    return dataclasses.asdict(found)


def _llm(pin: RowMapping, counts: Counts) -> dict[str, Any]:
    sure = counts["sure"]
    return (
        {"llm": pin["name"]}
        | {name: pin[name] for name in PIN[1:]}
        | {
            "calibrated": not counts["uncalibrated"],
            "n": counts["n"],
            "roles": {name: counts["roles"].get(name, 0) for name in ROLES},
            "reasons": {name: counts["reasons"].get(name, 0) for name in REASONS},
            "mean_confidence": counts["billionths"] / 1e9 / sure if sure else None,
            "mean_confidence_n": counts["always"],
            "accuracy": _accuracy(counts),
            "coverage": [_covered(*one) for one in _surest(counts)],
            "confusions": _confusions(counts)[:CONFUSIONS_SHOWN],
            "over": "all but times: tickets it was assigned to, and those whose shadow coin asked for it",
            "times": _times(counts, TIMES),
        }
    )


def _times(counts: Counts, names: Iterable[str]) -> dict[str, Any]:
    """Of times rounded to three significant digits."""
    spreads = {name: Spread(counts.get("times", {}).get(name, {})) for name in names}
    return {name: {"n": s.n, "p50": s.quantile(0.5), "p95": s.quantile(0.95)} for name, s in spreads.items()}


def _accuracy(counts: Counts) -> list[dict[str, Any]]:
    found = sorted(counts.get("accuracy", {}).items())
    return [{"source": source} | figure(metrics.proportion(row["right"], row["n"])) for source, row in found]


def _surest(counts: Counts) -> Iterator[tuple[Any, ...]]:
    for source, counted in sorted(counts.get("surest", {}).items()):
        yield from ((source, *point) for point in surest(counted))


def _covered(source: str, n: int, total: int, right: int, threshold: float) -> dict[str, Any]:
    """Of the surest n tickets, how many were right; all that are at least as sure as `threshold`."""
    share = {"source": source, "threshold": threshold, "coverage": n / total}
    return share | figure(metrics.proportion(right, n))


def _confusions(counts: Counts) -> list[dict[str, Any]]:
    """What was said instead of the truth, most frequent first."""
    found = sorted(leaves(counts.get("confusions", {}), 3), key=lambda one: (-one[3], *one[:3]))
    return [dict(zip(("source", "truth", "said", "n"), one, strict=True)) for one in found]


def _turned(cells: Counts) -> Counts:
    """The same pair, B with A."""
    return cells | {"only_a": cells.get("only_b", 0), "only_b": cells.get("only_a", 0)}


def _pair(source: str, a: RowMapping, b: RowMapping, cells: Counts) -> dict[str, Any]:
    found = stats.pair_of_counts(*itemgetter(*CELLS)(dict.fromkeys(CELLS, 0) | cells))
    named = {"source": source, "digest_a": a["digest"], "digest_b": b["digest"]}
    return named | {"over": SHADOWED} | dataclasses.asdict(found)
