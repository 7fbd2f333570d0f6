"""GET what the service works with: its label vocabulary and its llms."""

from typing import Any

from fastapi import APIRouter, Request
from sqlalchemy import select

from models import taxonomy
from models.db import transaction
from models.moment import moment
from models.tables import LlmVersion
from service.auth import TicketReader

router = APIRouter(prefix="/v1", tags=["catalog"])


@router.get("/taxonomy")
def get_taxonomy(request: Request, caller: TicketReader) -> dict[str, Any]:
    """The active version of the vocabulary."""
    with transaction(request.app.state.engine) as session:
        version, vocabulary = taxonomy.active(session)
    return {"version": version} | vocabulary.model_dump(by_alias=True)


@router.get("/llms")
def get_llms(request: Request, caller: TicketReader) -> dict[str, Any]:
    """Every llm version that a worker has loaded, newest first, with the role it has in the policy now."""
    policy = request.app.state.loaded.config.policy
    roles = {policy.primary: "primary", policy.fallback: "fallback", policy.last_resort: "last_resort"}
    with transaction(request.app.state.engine) as session:
        rows = session.scalars(select(LlmVersion).order_by(LlmVersion.id.desc())).all()
    names = ("name", "digest", "engine", "engine_version", "prompt_version", "demo")
    items = [
        {name: getattr(row, name) for name in names}
        | {
            "calibration_id": row.calibration_id or None,
            "policy_role": roles.pop(row.name, None),  # rows come newest first, and only the newest pin has the role
            "created_at": moment(row.created_at),
        }
        for row in rows
    ]
    return {"items": items, "next_cursor": None}
