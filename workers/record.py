"""The fenced write: a batch's results become rows in one short transaction, or nothing of a lost lease does.

Called by `settle`. It starts with the lease, so an engine may be asked twice but a result is recorded once.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Engine, Row, text
from sqlalchemy.orm import Session

from models.bulk import insert_rows
from models.db import transaction
from models.tables import Prediction, Triage
from workers.arms import Served
from workers.cascade import Decision
from workers.claim import Claimed
from workers.classify import Said
from workers.engines.base import Timings
from workers.figures import Figures
from workers.pins import row_id

log = structlog.get_logger()
ATTEMPTS = 5
FENCE = text("""
    UPDATE tickets SET status = 'done', lease_id = NULL, lease_until = NULL, last_error = NULL,
        lost_leases = 0, done_at = clock_timestamp()
    WHERE id = ANY(:ids) AND lease_id = :lease
    RETURNING id, received_at, 1000 * extract(epoch FROM claimed_at - queued_at)::float8 AS wait_ms,
              1000 * extract(epoch FROM done_at - queued_at)::float8 AS time_to_label_ms""")
TRANSACTION = text("SELECT pg_current_xact_id()::text")
OUTCOME = text("SELECT pg_xact_status(CAST(:transaction AS xid8)) = 'committed'")
SUPERSEDE = text("UPDATE triages SET newest = false WHERE ticket_id = ANY(:ids) AND newest")
# Half of the pause is drawn, so that tickets which were refused together do not come back together.
REJECT = text("""
    UPDATE tickets SET lease_id = NULL, lease_until = NULL, attempts = attempts + 1, last_error = :error,
        lost_leases = 0,
        status = CASE WHEN attempts + 1 >= :most THEN 'failed' ELSE 'queued' END,
        due_at = now() + make_interval(secs => least(600, power(2, attempts)) * (1 + random()) / 2)
    WHERE id = :id AND lease_id = :lease
    RETURNING attempts""")


@dataclass(frozen=True, slots=True)
class Done:
    """A ticket with its outcome, field by field."""

    ticket: Claimed
    served: Served


@dataclass(slots=True)
class Attempt:
    """The last try to write a batch: its transaction, which may be committed although nobody said so, and its rows."""

    transaction: str | None = None
    rows: Sequence[Row[Any]] = ()

    def committed(self, session: Session) -> bool:
        found = self.transaction and session.scalar(OUTCOME, {"transaction": self.transaction})
        return bool(found)


def record(
    engine: Engine,
    lease: UUID,
    taxonomy_version: int,
    results: list[Done],
    figures: Figures,
    last: Attempt | None = None,
) -> int:
    """Writes predictions and triages of the tickets that are still ours under this lease; how many those were.

    They are counted after the commit, so that the figures never say more than the tables. Given the `last` attempt, one
    whose commit was not answered is found again: its lease is gone, and its rows are there.
    """
    if not results:
        return 0
    last = last or Attempt()
    by_id = {done.ticket.id: done for done in results}
    with transaction(engine) as session:
        ours = session.execute(FENCE, {"ids": list(by_id), "lease": lease}).all()
        if ours or not last.committed(session):
            last.transaction, last.rows = session.scalar(TRANSACTION), ours
            if again := [row.id for row in ours if by_id[row.id].ticket.run > 1]:
                session.execute(SUPERSEDE, {"ids": again})
            _write(session, [(row, by_id[row.id]) for row in ours], taxonomy_version)
    log.debug("tickets.recorded", tickets=[str(row.id) for row in last.rows])
    _count(figures, [(row, by_id[row.id]) for row in last.rows])
    return len(last.rows)


def reject(engine: Engine, lease: UUID, ticket: Claimed, error: str, figures: Figures) -> None:
    """Counts an attempt against a ticket of ours; at the limit it is `failed`, else it is due again later."""
    with transaction(engine) as session:
        given = {"id": ticket.id, "lease": lease, "error": error, "most": ATTEMPTS}
        ours = session.execute(REJECT, given).all()
    figures.refused.inc(len(ours))
    if ours:
        figures.given_up.labels("attempts").inc(ours[0].attempts >= ATTEMPTS)
        log.warning("ticket.refused", ticket=str(ticket.id), run=ticket.run, attempt=ours[0].attempts, error=error)


def _count(figures: Figures, written: list[tuple[Row[Any], Done]]) -> None:
    """All of a batch at once: looking up a counter costs as much as counting."""
    for row, _ in written:
        figures.labelled(row.wait_ms, row.time_to_label_ms)
    outcomes = [pair for _, done in written for pair in done.served.fields.items()]
    for (name, action), times in Counter((name, outcome.decision.action) for name, outcome in outcomes).items():
        figures.decisions.labels(name, action).inc(times)
    answers: dict[tuple[str, str, str], list[Timings]] = {}
    for said in (said for _, outcome in outcomes for said in outcome.said):
        answers.setdefault((said.opinion.llm, said.role, said.reason), []).append(said.opinion.timings)
        if said.opinion.spend is not None:
            said.opinion.spend.recorded(said.opinion.cost, said.opinion.day)
    for who, timings in answers.items():
        figures.answered(*who, timings)


def _write(session: Session, ours: list[tuple[Row[Any], Done]], taxonomy_version: int) -> None:
    said = [
        (done, name, said) for _, done in ours for name, outcome in done.served.fields.items() for said in outcome.said
    ]
    pins = {pin: row_id(session, pin) for pin in dict.fromkeys(one.opinion.pin for _, _, one in said)}
    predictions = [
        _key(done.ticket, name, taxonomy_version) | _prediction(one) | {"llm_version_id": pins[one.opinion.pin]}
        for done, name, one in said
    ]
    triages = [
        _key(done.ticket, name, taxonomy_version) | _triage(row, outcome.decision) | {"served_arm": done.served.arm}
        for row, done in ours
        for name, outcome in done.served.fields.items()
    ]
    insert_rows(session, Prediction, predictions)
    insert_rows(session, Triage, triages)


def _key(ticket: Claimed, name: str, taxonomy_version: int) -> dict[str, Any]:
    return {"ticket_id": ticket.id, "run": ticket.run, "field": name, "taxonomy_version": taxonomy_version}


def _prediction(said: Said) -> dict[str, Any]:
    opinion, found, times = said.opinion, said.opinion.answer, said.opinion.timings
    return {
        "role": said.role,
        "reason": said.reason,
        "cost": opinion.cost,
        "cut": opinion.cut,
        "scores": found.scores,
        "scores_complete": found.complete,
        "label": found.label,
        "confidence": found.confidence,
        "raw_confidence": found.raw_confidence,
        "calibrated": found.calibrated,
        "label_mass": found.label_mass,
        "margin": found.margin,
        "slot_ms": times.slot_ms,
        "load_ms": times.load_ms,
        "prefill_ms": times.prefill_ms,
        "decode_ms": times.decode_ms,
        "call_ms": times.call_ms,
        "prompt_tokens": times.prompt_tokens,
        "cached_tokens": times.cached_tokens,
    }


def _triage(row: Row[Any], decision: Decision) -> dict[str, Any]:
    return {
        "label": decision.label,
        "confidence": decision.confidence,
        "calibrated": decision.calibrated,
        "decided_by": decision.decided_by,
        "llms": decision.llms,
        "action": decision.action,
        "reason": decision.reason,
        "alternatives": decision.alternatives,
        "received_at": row.received_at,
        "wait_ms": row.wait_ms,
        "time_to_label_ms": row.time_to_label_ms,
    }
