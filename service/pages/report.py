"""The report page: which llm does it better, the verdict first."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import AwareDatetime, BeforeValidator

from models.db import transaction
from service.experiments import report
from service.pages.form import read_time
from service.pages.page import page
from service.pages.session import ReportReader

router = APIRouter(include_in_schema=False)


Time = Annotated[AwareDatetime | None, BeforeValidator(read_time), Query()]


@router.get("/report")
def show_report(request: Request, caller: ReportReader, since: Time = None, until: Time = None) -> Response:
    policy = request.app.state.loaded.config.policy
    with transaction(request.app.state.engine) as session:
        found = report.build(session, policy.primary, policy.fallback, report.Window(since=since, until=until))
    return page(request, "report.html", report=found, latency=_latency(found))


def _latency(found: dict[str, Any]) -> list[dict[str, Any]]:
    """One row for each part of each llm's time that was measured, then the ticket's own times."""
    parts = [(f"{llm['llm']}: {part}", row) for llm in found["llms"] for part, row in llm["times"].items()]
    parts += [(f"ticket: {part}", row) for part, row in found["cascade"]["times"].items()]
    return [{"name": name.removesuffix("_ms").replace("_", " ")} | row for name, row in parts if row["n"]]
