"""The A/B report: counts in SQL, figures from `stats`. Called by the API and `triage report`.

Only the newest run of a ticket counts, and of a ticket's verdicts the newest of each source.
"""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import RowMapping, text
from sqlalchemy.orm import Session

from models import metrics
from models.metrics import Proportion
from service.experiments import queries, stats

EXHAUSTIVE = ("dataset",)
"""Sources that judged every ticket they were given, so that their verdicts measure accuracy."""

CONFUSIONS_SHOWN = 20
TIMES = ("slot_ms", "load_ms", "prefill_ms", "decode_ms", "call_ms")
WHY_NOT_ACCURACY = (
    "Other sources judge only where somebody chose to look, mostly at mistakes: a count and a rate, never accuracy."
)


@dataclass(frozen=True)
class Window:
    """What a report covers: tickets received from `since` (inclusive) to `until` (exclusive); None is open."""

    field: str = "category"
    since: datetime | None = None
    until: datetime | None = None


def build(session: Session, a: str, b: str | None, window: Window) -> dict[str, Any]:
    """The whole report as JSON: llm `a` (primary) against `b` (fallback), both by name."""
    figures = _Figures(session, window, {"a": a, "b": b})
    return {
        "experiment": {"name": "primary-or-fallback", "implied": True, "mode": "shadow", "a": a, "b": b},
        "field": window.field,
        "since": _when(window.since),
        "until": _when(window.until),
        "generated_at": _when(datetime.now(UTC)),
        "tickets": figures.tickets(),
        "taxonomy_versions": figures.taxonomy_versions(),
        "llms": figures.llms(),
        "cascade": figures.cascade(),
        "pair": figures.pairs(),
        "corrections": figures.corrections(),
        "sources": {"accuracy": list(EXHAUSTIVE), "counted_only": WHY_NOT_ACCURACY},
    }


class _Figures:
    """The queries of one report over one window."""

    def __init__(self, session: Session, window: Window, arms: dict[str, str | None]):
        self.session = session
        self.given = dataclasses.asdict(window) | {"exhaustive": list(EXHAUSTIVE)} | arms

    def _all(self, query: str) -> Sequence[RowMapping]:
        return self.session.execute(text(query), self.given).mappings().all()

    def tickets(self) -> dict[str, int]:
        counts = {row["status"]: row["n"] for row in self._all(queries.TICKETS)}
        return {"received": sum(counts.values())} | {
            s: counts.get(s, 0) for s in ("queued", "working", "done", "failed")
        }

    def taxonomy_versions(self) -> list[int]:
        return [row["taxonomy_version"] for row in self._all(queries.TAXONOMIES)]

    def llms(self) -> list[dict[str, Any]]:
        judged = {query: self._all(query) for query in (queries.LLM_ACCURACY, queries.COVERAGE, queries.CONFUSIONS)}
        return [self._llm(row, *(_of(row, rows) for rows in judged.values())) for row in self._all(queries.LLMS)]

    def _llm(
        self, row: RowMapping, accuracy: list[RowMapping], coverage: list[RowMapping], confusions: list[RowMapping]
    ) -> dict[str, Any]:
        pin = ("llm", "digest", "engine", "engine_version", "prompt_version", "calibration_id", "demo", "calibrated")
        times = {name: {k: row[f"{name}_{k}"] for k in ("n", "p50", "p95")} for name in TIMES}
        return {name: row[name] for name in pin} | {
            "n": row["n"],
            "roles": row["roles"],
            "mean_confidence": row["mean_confidence"],
            "mean_confidence_n": row["n_always_asked"],
            "accuracy": [_accuracy(a) for a in accuracy],
            "coverage": [_covered(c) for c in coverage],
            "confusions": [{k: c[k] for k in ("source", "truth", "said", "n")} for c in confusions[:CONFUSIONS_SHOWN]],
            "over": "all but times: tickets it answered as primary, else those whose shadow coin said yes",
            "times": times,
        }

    def cascade(self) -> dict[str, Any]:
        (row,) = self._all(queries.CASCADE)
        actions = {name: row[name] for name in ("automate", "suggest", "review")}
        waits = {name: {k: row[f"{name}_{k}"] for k in ("n", "p50", "p95")} for name in ("wait_ms", "time_to_label_ms")}
        return {
            "n": row["n"],
            "escalated": _figure(metrics.proportion(row["escalated"], row["asked"])),
            "actions": actions,
            "accuracy": [_accuracy(a) for a in self._all(queries.CASCADE_ACCURACY)],
            "times": waits,
        }

    def pairs(self) -> list[dict[str, Any]]:
        return [self._pair(row) for row in self._all(queries.PAIRS)]

    def _pair(self, row: RowMapping) -> dict[str, Any]:
        found = stats.pair_of_counts(row["both"], row["only_a"], row["only_b"], row["neither"])
        named = {name: row[name] for name in ("source", "digest_a", "digest_b")}
        return named | {"over": "tickets whose shadow coin said yes"} | dataclasses.asdict(found)

    def corrections(self) -> list[dict[str, Any]]:
        rows = self._all(queries.CORRECTIONS)
        return [
            {"source": r["source"], "n": r["n"], "changed": _figure(metrics.proportion(r["changed"], r["n"]))}
            for r in rows
        ]


def _of(llm: RowMapping, rows: Sequence[RowMapping]) -> list[RowMapping]:
    return [row for row in rows if row["llm_version_id"] == llm["id"]]


def _covered(row: RowMapping) -> dict[str, Any]:
    """Of the surest n tickets, how many were right; `threshold` is the least confidence among them."""
    share = {"source": row["source"], "threshold": row["threshold"], "coverage": row["n"] / row["total"]}
    return share | _figure(metrics.proportion(row["right_so_far"], row["n"]))


def _accuracy(row: RowMapping) -> dict[str, Any]:
    return {"source": row["source"]} | _figure(metrics.proportion(row["correct"], row["n"]))


def _figure(found: Proportion) -> dict[str, Any]:
    return dataclasses.asdict(found)


def _when(value: datetime | None) -> str | None:
    return None if value is None else value.astimezone(UTC).isoformat().replace("+00:00", "Z")
