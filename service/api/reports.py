"""GET the report of the running comparison, as JSON."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import AwareDatetime

from models.db import transaction
from service.auth import ReportReader
from service.experiments import report

router = APIRouter(tags=["report"])


@router.get("/v1/report")
def get_report(
    request: Request,
    caller: ReportReader,
    since: Annotated[AwareDatetime | None, Query()] = None,
    until: Annotated[AwareDatetime | None, Query()] = None,
) -> dict[str, Any]:
    """Primary against fallback on the same tickets, and the cascade as served; each figure with its n and interval."""
    policy = request.app.state.loaded.config.policy
    with transaction(request.app.state.engine) as session:
        return report.build(session, policy.primary, policy.fallback, report.Window(since=since, until=until))
