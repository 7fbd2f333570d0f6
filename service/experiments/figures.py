"""The figures of one report: counts in SQL, shares and intervals from `models.metrics`. Called by `report`."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from psycopg.errors import QueryCanceled
from sqlalchemy import RowMapping, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from models import metrics
from models.errors import Unavailable
from models.metrics import Proportion
from service.experiments import queries, stats

CONFUSIONS_SHOWN = 20
TIMES = ("slot_ms", "load_ms", "prefill_ms", "decode_ms", "call_ms")
TOO_LONG = "The report took longer than is allowed; ask for fewer days with since and until, or when less is going on."
SHADOWED = "tickets whose shadow coin said yes"


class Figures:
    """The queries of one report; `given` holds their parameters."""

    def __init__(self, session: Session, given: dict[str, Any]):
        self.session = session
        self.given = given

    def rows(self, query: str) -> Sequence[RowMapping]:
        """Raises Unavailable where Postgres has stopped the query at its statement_timeout."""
        try:
            return self.session.execute(text(query), self.given).mappings().all()
        except OperationalError as error:
            if isinstance(error.orig, QueryCanceled):
                raise Unavailable(TOO_LONG) from error
            raise

    def tickets(self) -> dict[str, int]:
        counts = {row["status"]: row["n"] for row in self.rows(queries.TICKETS)}
        return {"received": sum(counts.values())} | {
            s: counts.get(s, 0) for s in ("queued", "working", "done", "failed")
        }

    def taxonomy_versions(self) -> list[int]:
        return [row["taxonomy_version"] for row in self.rows(queries.TAXONOMIES)]

    def llms(self) -> list[dict[str, Any]]:
        judged = {query: self.rows(query) for query in (queries.LLM_ACCURACY, queries.COVERAGE, queries.CONFUSIONS)}
        return [_llm(row, *(_of(row, rows) for rows in judged.values())) for row in self.rows(queries.LLMS)]

    def cascade(self) -> dict[str, Any]:
        (row,) = self.rows(queries.CASCADE)
        return {
            "n": row["n"],
            "escalated": figure(metrics.proportion(row["escalated"], row["asked"])),
            "actions": actions(row),
            "accuracy": [_accuracy(a) for a in self.rows(queries.CASCADE_ACCURACY)],
            "times": {name: quantiles(row, name) for name in ("wait_ms", "time_to_label_ms")},
        }

    def pairs(self) -> list[dict[str, Any]]:
        return [_pair(row) for row in self.rows(queries.PAIRS)]

    def drawn(self) -> dict[str, int]:
        """Tickets drawn by the coin, and those of them that both llms answered."""
        return dict(self.rows(queries.DRAWN)[0])

    def corrections(self) -> list[dict[str, Any]]:
        return [
            {"source": r["source"], "n": r["n"], "changed": figure(metrics.proportion(r["changed"], r["n"]))}
            for r in self.rows(queries.CORRECTIONS)
        ]


def actions(row: RowMapping) -> dict[str, int]:
    """How many tickets were to be automated, suggested, reviewed."""
    return {name: row[name] for name in ("automate", "suggest", "review")}


def quantiles(row: RowMapping, name: str) -> dict[str, Any]:
    """The median and 95th percentile of one time and over how many."""
    return {k: row[f"{name}_{k}"] for k in ("n", "p50", "p95")}


def figure(found: Proportion) -> dict[str, Any]:
    return dataclasses.asdict(found)


def _llm(
    row: RowMapping, accuracy: list[RowMapping], coverage: list[RowMapping], confusions: list[RowMapping]
) -> dict[str, Any]:
    pin = ("llm", "digest", "engine", "engine_version", "prompt_version", "calibration_id", "demo", "calibrated")
    return {name: row[name] for name in pin} | {
        "n": row["n"],
        "roles": row["roles"],
        "reasons": row["reasons"],
        "mean_confidence": row["mean_confidence"],
        "mean_confidence_n": row["n_always_asked"],
        "accuracy": [_accuracy(a) for a in accuracy],
        "coverage": [_covered(c) for c in coverage],
        "confusions": [{k: c[k] for k in ("source", "truth", "said", "n")} for c in confusions[:CONFUSIONS_SHOWN]],
        "over": "all but times: tickets it was assigned to, and those whose shadow coin asked for it",
        "times": {name: quantiles(row, name) for name in TIMES},
    }


def _pair(row: RowMapping) -> dict[str, Any]:
    found = stats.pair_of_counts(row["both"], row["only_a"], row["only_b"], row["neither"])
    named = {name: row[name] for name in ("source", "digest_a", "digest_b")}
    return named | {"over": SHADOWED} | dataclasses.asdict(found)


def _of(llm: RowMapping, rows: Sequence[RowMapping]) -> list[RowMapping]:
    return [row for row in rows if row["llm_version_id"] == llm["id"]]


def _covered(row: RowMapping) -> dict[str, Any]:
    """Of the surest n tickets, how many were right; `threshold` is the least confidence among them."""
    share = {"source": row["source"], "threshold": row["threshold"], "coverage": row["n"] / row["total"]}
    return share | figure(metrics.proportion(row["right_so_far"], row["n"]))


def _accuracy(row: RowMapping) -> dict[str, Any]:
    return {"source": row["source"]} | figure(metrics.proportion(row["correct"], row["n"]))
