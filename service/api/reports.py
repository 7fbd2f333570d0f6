"""GET the report of the running comparison, as JSON or CSV."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime

from models.db import transaction
from service.auth import ReportReader
from service.experiments import report
from service.experiments.spreadsheet import as_csv

router = APIRouter(tags=["report"])


@router.get("/v1/report")
def get_report(
    request: Request,
    caller: ReportReader,
    since: Annotated[AwareDatetime | None, Query()] = None,
    until: Annotated[AwareDatetime | None, Query()] = None,
    form: Annotated[Literal["json", "csv"] | None, Query(alias="format")] = None,
) -> Response:
    """Primary against fallback on the same tickets, and the cascade as served; each figure with its n and interval.

    CSV by `?format=csv` or `Accept: text/csv`.
    """
    policy = request.app.state.loaded.config.policy
    with transaction(request.app.state.engine) as session:
        found = report.build(session, policy.primary, policy.fallback, report.Window(since=since, until=until))
    if form == "csv" or (form is None and "text/csv" in request.headers.get("accept", "")):
        return Response(as_csv(found), media_type="text/csv; charset=utf-8")
    return JSONResponse(found)
