"""The report page: which llm does it better, the verdict first; and the same to keep as HTML, JSON or CSV."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import BeforeValidator

from models import taxonomy
from models.db import transaction
from models.moment import moment
from models.taxonomy import Taxonomy
from service.experiments import kept, report
from service.experiments.spreadsheet import as_csv
from service.intake.reading import Time
from service.pages import document
from service.pages.form import read_time
from service.pages.page import HEADERS, page
from service.pages.session import ReportReader

router = APIRouter(include_in_schema=False)
Day = Annotated[Time | None, BeforeValidator(read_time), Query()]


def read(
    request: Request, caller: ReportReader, since: Day = None, until: Day = None, experiment: str = ""
) -> tuple[dict[str, Any], Taxonomy]:
    """The report asked for and today's vocabulary; without a name, of the experiment that runs now."""
    engine = request.app.state.engine
    with transaction(engine) as session:
        found = kept.asked_for(session, request.app.state.loaded.config, experiment)
        vocabulary = taxonomy.active(session)[1]
    return report.build(engine, found, report.Window(since, until)), vocabulary


Read = Annotated[tuple[dict[str, Any], Taxonomy], Depends(read)]


@router.get("/report")
def show_report(request: Request, found: Read, since: Day = None, until: Day = None, experiment: str = "") -> Response:
    asked = {"experiment": experiment, "since": _text(since), "until": _text(until)}
    given = {name: value for name, value in asked.items() if value}
    with transaction(request.app.state.engine) as session:
        names = [one.name for one in kept.experiments(session, request.app.state.loaded.config)]
    return page(request, "report.html", given=given, experiments=names, **document.shown(*found))


def _text(time: datetime | None) -> str:
    return moment(time) or ""


@router.get("/report.json")
def save_json(found: Read) -> Response:
    return JSONResponse(found[0], headers=HEADERS)


@router.get("/report.csv")
def save_csv(found: Read) -> Response:
    return Response(as_csv(found[0]), headers=HEADERS, media_type="text/csv; charset=utf-8")


@router.get("/report.html")
def save_html(found: Read) -> Response:
    return HTMLResponse(document.render(*found), headers=document.HEADERS)
