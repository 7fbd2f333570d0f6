"""The report page: which llm does it better, the verdict first; and the same to keep as HTML, JSON or CSV."""

from typing import Annotated, Any, NamedTuple

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


class Found(NamedTuple):
    """A report, today's vocabulary, and what was asked for."""

    report: dict[str, Any]
    vocabulary: Taxonomy
    given: dict[str, str]


def read(request: Request, caller: ReportReader, since: Day = None, until: Day = None, experiment: str = "") -> Found:
    """The report asked for; without a name, of the experiment that runs now."""
    engine = request.app.state.engine
    with transaction(engine) as session:
        found = kept.asked_for(session, request.app.state.loaded.config, experiment)
        vocabulary = taxonomy.active(session)[1]
    given = {"experiment": experiment, "since": moment(since), "until": moment(until)}
    built = report.build(engine, found, report.Window(since, until))
    return Found(built, vocabulary, {name: value for name, value in given.items() if value})


Read = Annotated[Found, Depends(read)]


@router.get("/report")
def show_report(request: Request, found: Read) -> Response:
    with transaction(request.app.state.engine) as session:
        names = [one.name for one in kept.experiments(session, request.app.state.loaded.config)]
    shown = document.shown(found.report, found.vocabulary)
    return page(request, "report.html", given=found.given, experiments=names, **shown)


@router.get("/report.json")
def save_json(found: Read) -> Response:
    return JSONResponse(found.report, headers=HEADERS)


@router.get("/report.csv")
def save_csv(found: Read) -> Response:
    return Response(as_csv(found.report), headers=HEADERS, media_type="text/csv; charset=utf-8")


@router.get("/report.html")
def save_html(found: Read) -> Response:
    return HTMLResponse(document.render(found.report, found.vocabulary), headers=document.HEADERS)
