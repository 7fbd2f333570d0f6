"""GET the report of the running experiment or of a named one, as JSON, CSV or one HTML file."""

import re
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from models import taxonomy
from models.db import transaction
from service.auth.callers import ReportReader
from service.experiments import kept, report
from service.experiments.spreadsheet import as_csv
from service.intake.reading import Time
from service.pages import document

router = APIRouter(prefix="/v1", tags=["report"])
KINDS = {"application/json": "json", "text/csv": "csv", "text/html": "html"}


class Asked(BaseModel):
    """What a report can be narrowed to, and its form; an unknown parameter is refused. `until` is exclusive."""

    model_config = ConfigDict(extra="forbid")
    since: Time | None = None
    until: Time | None = None
    form: Annotated[Literal["json", "csv", "html"] | None, Field(alias="format")] = None


@router.get("/report")
def get_report(request: Request, caller: ReportReader, asked: Annotated[Asked, Query()]) -> Response:
    """The running experiment's: A against B and what was served, each figure with its n and interval.

    Without one in triage.yaml, the policy's primary against its fallback. CSV and HTML by `?format=` or `Accept`.
    """
    return _answer(request, None, asked)


@router.get("/experiments/{name}/report")
def get_report_of(request: Request, caller: ReportReader, name: str, asked: Annotated[Asked, Query()]) -> Response:
    """The same of the experiment of this name, whenever it ran."""
    return _answer(request, name, asked)


def _answer(request: Request, name: str | None, asked: Asked) -> Response:
    form = asked.form or preferred(request.headers.get("accept", ""))
    engine = request.app.state.engine
    with transaction(engine) as session:
        experiment = kept.asked_for(session, request.app.state.loaded.config, name)
        vocabulary = taxonomy.active(session)[1]
    found = report.build(engine, experiment, report.Window(asked.since, asked.until))
    if form == "html":
        return HTMLResponse(document.render(found, vocabulary), headers=document.HEADERS)
    if form == "csv":
        return Response(as_csv(found), media_type="text/csv; charset=utf-8")
    return JSONResponse(found)


def preferred(accept: str) -> str:
    """The form that an Accept header likes best, of equals the first; JSON where it names none of ours."""
    weighed = {}
    for part in accept.lower().split(","):
        kind, _, rest = part.partition(";")
        weight = re.search(r"\bq\s*=\s*([01](?:\.\d{0,3})?)", rest)
        weighed[kind.strip()] = float(weight[1]) if weight else 1.0
    ours = [kind for kind in weighed if kind in KINDS and weighed[kind] > 0]
    return KINDS[max(ours, key=weighed.__getitem__)] if ours else "json"
