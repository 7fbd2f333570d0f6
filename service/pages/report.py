"""The report page: which llm does it better, the verdict first."""

from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import JSONResponse
from pydantic import AwareDatetime, BeforeValidator

from models import taxonomy
from models.db import transaction
from service.experiments import report
from service.experiments.spreadsheet import as_csv
from service.pages.form import read_time
from service.pages.page import HEADERS, page
from service.pages.session import ReportReader
from service.pages.shown import titles

router = APIRouter(include_in_schema=False)


Time = Annotated[AwareDatetime | None, BeforeValidator(read_time), Query()]


@router.get("/report")
def show_report(request: Request, caller: ReportReader, since: Time = None, until: Time = None) -> Response:
    found, words = _read(request, since, until)
    window = {name: found[name] for name in ("since", "until") if found[name]}
    return page(request, "report.html", report=found, latency=_latency(found), titles=words, window=window)


@router.get("/report.json")
def save_json(request: Request, caller: ReportReader, since: Time = None, until: Time = None) -> Response:
    return JSONResponse(_read(request, since, until)[0], headers=HEADERS)


@router.get("/report.csv")
def save_csv(request: Request, caller: ReportReader, since: Time = None, until: Time = None) -> Response:
    return Response(as_csv(_read(request, since, until)[0]), headers=HEADERS, media_type="text/csv; charset=utf-8")


def _read(request: Request, since: datetime | None, until: datetime | None) -> tuple[dict[str, Any], dict[str, str]]:
    policy, window = request.app.state.loaded.config.policy, report.Window(since=since, until=until)
    with transaction(request.app.state.engine) as session:
        words = titles(taxonomy.active(session)[1], window.field)
        return report.build(session, policy.primary, policy.fallback, window), words


def _latency(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each part of each llm's time that was measured, then the ticket's own times."""
    parts = [(f"{llm['llm']}: {part}", row) for llm in found["llms"] for part, row in llm["times"].items()]
    parts += [(f"ticket: {part}", row) for part, row in found["cascade"]["times"].items()]
    return [{"name": name.removesuffix("_ms").replace("_", " ")} | row for name, row in parts if row["n"]]
