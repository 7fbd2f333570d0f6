"""Is the process up, is the service ready, what does the API take: for people, load balancers and `up`."""

from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from redis import RedisError
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from models.db import transaction
from models.errors import Unavailable
from models.tables import Worker
from service.auth import AnyCaller
from service.queue import connect
from service.settings import FINGERPRINT
from service.tickets.backlog import LIVE

router = APIRouter(tags=["health"])


@router.get("/healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz")
def readyz(request: Request) -> Response:
    """200 `ok`, or `degraded` with what is missing (tickets are taken all the same); 503 without a usable Postgres."""
    state = request.app.state
    try:
        with transaction(state.engine) as session:
            if (schema := _schema(session)) is None or schema in state.schema.older:
                return _not_ready(
                    f"The schema is at {schema}, this version needs {state.schema.head}: run triage migrate."
                )
            missing = _workers(session)
    except Unavailable as error:
        return _not_ready(error.message)
    if not _redis_answers(state.loaded.settings.redis_url.get_secret_value()):
        missing.append("Redis does not answer: tickets are taken and classified, each a few seconds later.")
    found = {"status": "degraded" if missing else "ok", "missing": missing}
    return JSONResponse(found, headers={FINGERPRINT: state.loaded.fingerprint})


@router.get("/openapi.json", include_in_schema=False)
def describe(request: Request, caller: AnyCaller) -> Response:
    """What this API takes and gives, for any good key."""
    return JSONResponse(request.app.openapi())


def _not_ready(why: str) -> Response:
    return JSONResponse({"status": "unavailable", "missing": [why]}, 503, {"Retry-After": "5"})


def _schema(session: Session) -> str | None:
    if session.scalar(text("SELECT to_regclass('alembic_version')")) is None:
        return None
    found: str | None = session.scalar(text("SELECT version_num FROM alembic_version"))
    return found


def _workers(session: Session) -> list[str]:
    """One sentence for each thing that keeps tickets from being classified now."""
    workers = session.scalars(select(Worker.llms).where(LIVE)).all()
    if not workers:
        return ["No worker is running: tickets are taken and wait."]
    problems = {problem for llms in workers for name, llm in llms.items() if (problem := _problem(name, llm))}
    return sorted(problems)


def _problem(name: str, llm: dict[str, Any]) -> str | None:
    if llm["error"]:
        return f"The llm {name} is not loaded: {llm['error']}"
    if llm.get("breaker"):
        return f"The llm {name} is not asked at the moment: {llm['breaker']} Tickets wait, or are decided without it."
    return None


def _redis_answers(url: str) -> bool:
    client = connect(url)
    try:
        return bool(client.ping())
    except (RedisError, OSError):
        return False
    finally:
        client.close()
