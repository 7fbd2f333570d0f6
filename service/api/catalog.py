"""GET what the service works with: its label vocabulary and its llms."""

from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import select

from models import taxonomy
from models.db import transaction
from models.moment import moment
from models.tables import LlmVersion, Worker
from service.auth.callers import TicketReader
from service.tickets.backlog import LIVE

router = APIRouter(prefix="/v1", tags=["catalog"])


@router.get("/taxonomy")
def get_taxonomy(request: Request, caller: TicketReader) -> dict[str, Any]:
    """The active version of the vocabulary."""
    with transaction(request.app.state.engine) as session:
        version, vocabulary = taxonomy.active(session)
    return {"version": version} | vocabulary.model_dump(by_alias=True)


@router.get("/llms")
def get_llms(request: Request, caller: TicketReader) -> dict[str, Any]:
    """Every llm version that a worker has loaded, newest first, with the role it has in the policy now.

    `calibration` says of each field how far the confidence can be believed, as long as a worker lives: `uncalibrated`,
    `batch-calibrated` or `calibrated`, by how many tickets (`n`), and `why` no further. Only `calibrated` may automate.
    """
    policy = request.app.state.loaded.config.policy
    roles = {policy.primary: "primary", policy.fallback: "fallback", policy.last_resort: "last_resort"}
    with transaction(request.app.state.engine) as session:
        rows = session.scalars(select(LlmVersion).order_by(LlmVersion.id.desc())).all()
        workers = session.scalars(select(Worker.llms).where(LIVE).order_by(Worker.seen_at)).all()
    states = {name: llm.get("calibration") for llms in workers for name, llm in llms.items()}
    names = ("name", "digest", "engine", "engine_version", "prompt_version", "demo")
    items = [
        {name: getattr(row, name) for name in names}
        | {
            "calibration_id": row.calibration_id or None,
            # Rows come newest first, and only the newest pin has the role and the state.
            "policy_role": roles.pop(row.name, None),
            "calibration": states.pop(row.name, None),
            "created_at": moment(row.created_at),
        }
        for row in rows
    ]
    return {"items": items, "next_cursor": None}
