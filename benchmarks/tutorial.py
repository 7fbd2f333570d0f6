"""What the usual tutorial builds: a FastAPI handler with an ORM session, and one Celery task per ticket.

Both halves write the product's own rows in full. Served by serve.py, worked by `celery`; stage.py gives the settings.
"""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from celery import Celery
from fastapi import Depends, FastAPI
from pydantic import BaseModel
from sqlalchemy import create_engine
from sqlalchemy.orm import Session

from benchmarks.engine import Timed
from models.llm.answer import Answer, answer
from models.llm.card import load_card
from models.llm.prompt import render
from models.llm.text import prepare
from models.tables import Prediction, Ticket, Triage
from service.settings import DEMO_LLMS
from workers.engines.base import Timings

QUEUE = "tutorial"
FIELD = "category"
LLM_VERSION = 1  # the row that stage.py makes
POOL = int(os.environ.get("BENCH_CLIENTS", "32"))

database = create_engine(os.environ.get("BENCH_DATABASE", "postgresql+psycopg://"), pool_size=POOL, max_overflow=0)
celery = Celery("tutorial", broker=os.environ.get("BENCH_BROKER", "redis://"))
celery.conf.task_default_queue = QUEUE
web = FastAPI()
engine = Timed()
card = load_card(DEMO_LLMS / "primary.gguf")


class TicketIn(BaseModel):
    external_id: str
    subject: str
    body: str


def session() -> Iterator[Session]:
    with Session(database) as opened:
        yield opened


@web.post("/v1/tickets", status_code=202)
def post_ticket(ticket: TicketIn, session: Annotated[Session, Depends(session)]) -> dict[str, str]:
    """Commits the ticket, reads it back and queues its task."""
    given = ticket.model_dump()
    raw = ticket.model_dump_json().encode()
    row = Ticket(**given, source="api", raw=raw, content_sha256=b"", shadow=False, shadow_rate=0.0)
    session.add(row)
    session.commit()
    session.refresh(row)
    classify.delay(str(row.id))
    return {"id": str(row.id), "status": row.status}


@celery.task  # type: ignore[untyped-decorator]  # celery has no types
def classify(ticket_id: str) -> None:
    """Reads one ticket, asks the llm, writes the prediction and the triage."""
    with Session(database) as session:
        ticket = session.get_one(Ticket, UUID(ticket_id))
        ticket.claimed_at = datetime.now(UTC)
        prompt = render(prepare(ticket.subject, ticket.body).text, FIELD, card.prompt_version)
        scores = engine.score("primary", prompt, list(card.codes[FIELD].values()))
        found = answer(scores.logprobs, card.codes[FIELD], card.calibration[FIELD].temperature)
        key = {"ticket_id": ticket.id, "run": ticket.run, "field": FIELD, "taxonomy_version": 1}
        session.add(Prediction(**key, **_prediction(found, scores.timings)))
        ticket.status, ticket.done_at = "done", datetime.now(UTC)
        session.add(Triage(**key, **_triage(found), **_times(ticket, ticket.claimed_at, ticket.done_at)))
        session.commit()


def _prediction(found: Answer, times: Timings) -> dict[str, Any]:
    return {
        "llm_version_id": LLM_VERSION,
        "role": "primary",
        "reason": "assigned",
        "label": found.label,
        "confidence": found.confidence,
        "raw_confidence": found.raw_confidence,
        "calibrated": found.calibrated,
        "label_mass": found.label_mass,
        "margin": found.margin,
        "scores": dict(found.scores),
        "scores_complete": found.complete,
        "slot_ms": times.slot_ms,
        "load_ms": times.load_ms,
        "decode_ms": times.decode_ms,
        "call_ms": times.call_ms,
    }


def _triage(found: Answer) -> dict[str, Any]:
    ranked = sorted(found.scores.items(), key=lambda item: item[1], reverse=True)
    return {
        "label": found.label,
        "confidence": found.confidence,
        "calibrated": found.calibrated,
        "decided_by": "cascade",
        "llms": ["primary"],
        "action": "suggest",
        "reason": "no_threshold",
        "alternatives": [{"label": label, "confidence": p} for label, p in ranked[1:4]],
    }


def _times(ticket: Ticket, claimed: datetime, done: datetime) -> dict[str, Any]:
    wait, whole = claimed - ticket.queued_at, done - ticket.queued_at
    spans = {"wait_ms": wait.total_seconds() * 1e3, "time_to_label_ms": whole.total_seconds() * 1e3}
    return {"received_at": ticket.received_at, **spans}
