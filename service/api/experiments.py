"""GET the comparisons that triage.yaml asks for, and which of them new tickets take part in."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request

from models.db import transaction
from models.moment import moment
from service.auth.callers import ReportReader
from service.experiments import assignment, kept
from service.experiments.assignment import Experiment

router = APIRouter(prefix="/v1", tags=["experiments"])


@router.get("/experiments")
def get_experiments(request: Request, caller: ReportReader) -> dict[str, Any]:
    """In the order of triage.yaml, then the implied one (primary against fallback), then those taken out."""
    config = request.app.state.loaded.config
    running = assignment.running(config, datetime.now(UTC)).name
    with transaction(request.app.state.engine) as session:
        items = [shape(one) | {"running": one.name == running} for one in kept.experiments(session, config)]
    return {"items": items, "next_cursor": None}


def shape(experiment: Experiment) -> dict[str, Any]:
    """One experiment; each arm is the policy that it stands for."""
    arms = {"a": experiment.a.model_dump(), "b": experiment.b and experiment.b.model_dump()}
    window = {"since": moment(experiment.since), "until": moment(experiment.until)}
    named = {name: getattr(experiment, name) for name in ("name", "field", "mode", "implied")}
    return named | arms | window | {"report": f"/v1/experiments/{experiment.name}/report"}
