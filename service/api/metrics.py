"""GET how the service stands, and what this process and the live workers have counted, as Prometheus reads it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fastapi import APIRouter, Request, Response
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.samples import Sample
from sqlalchemy import Double, RowMapping, func, literal_column, select
from sqlalchemy.orm import Session

from models.db import transaction
from models.tables import LIVE_FOR, TaxonomyVersion, Worker
from service.auth.callers import ReportReader
from service.experiments.rollups.roll import MARKS, lag
from service.tickets.backlog import LIVE, MOST_FAILED, backlog, failed

router = APIRouter(tags=["health"])
AGE = literal_column("EXTRACT(epoch FROM clock_timestamp() - seen_at)::float8", Double).label("age_s")
# A process that is started anew may have the host and number of the one before it: the id makes it another series.
WHO = ("worker", "worker_id")


@dataclass(frozen=True)
class Scrape(Collector):
    """What one scrape found."""

    families: Sequence[Metric]

    def collect(self) -> Iterable[Metric]:
        return self.families


@router.get("/metrics", response_class=Response)
def get_metrics(request: Request, caller: ReportReader) -> Response:
    """The Prometheus text format, or OpenMetrics where that is asked for.

    The queue is read now, and what this process took is of this process; what a worker counted is as old as its last
    heartbeat, five seconds at most.
    """
    state = request.app.state
    limit = state.loaded.settings.queue_limit
    intake = state.counts.families(len(state.door.pending))
    with transaction(state.engine) as session:
        columns = (Worker.id, Worker.host, Worker.pid, Worker.llms, Worker.figures, AGE)
        workers = session.execute(select(*columns).where(LIVE).order_by(Worker.id)).mappings().all()
        service = [*_service(session, limit, len(workers)), *_report(session)]
    families = [*service, *intake, *_workers(workers), *_counted(workers)]
    encode, content_type = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(Scrape(families)), headers={"Content-Type": content_type})


def _service(session: Session, limit: int, workers: int) -> list[Metric]:
    queue = backlog(session, limit)
    version = session.scalar(select(func.max(TaxonomyVersion.version)))
    return [
        GaugeMetricFamily("triage_queue_depth", "Tickets that wait, counted to one above the limit.", queue["waiting"]),
        GaugeMetricFamily("triage_queue_limit", "Tickets that may wait before new ones get 429.", limit),
        GaugeMetricFamily(
            "triage_queue_oldest_seconds", "For how long the oldest of them waits; 0 if none.", queue["oldest_s"] or 0
        ),
        GaugeMetricFamily("triage_tickets_working", "Tickets that workers have claimed.", queue["working"]),
        GaugeMetricFamily(
            "triage_tickets_failed",
            f"Tickets that are failed until somebody queues them again, counted to {MOST_FAILED}.",
            failed(session),
        ),
        GaugeMetricFamily("triage_workers", f"Workers seen in the last {LIVE_FOR}.", workers),
        GaugeMetricFamily("triage_taxonomy_version", "The label vocabulary in force; 0 if none.", version or 0),
    ]


def _report(session: Session) -> list[Metric]:
    """How far what a report says is behind."""
    late = lag(session)
    return [
        GaugeMetricFamily(
            "triage_report_behind_hours",
            f"Hours with changes that no report counts yet, as far as the first {MARKS} changes tell.",
            late["behind_hours"],
        ),
        GaugeMetricFamily(
            "triage_report_behind_seconds", "Since the oldest of these changes; 0 if none.", late["behind_s"]
        ),
    ]


def _workers(workers: Sequence[RowMapping]) -> list[Metric]:
    """How each worker and its llms are."""
    age = GaugeMetricFamily("triage_worker_heartbeat_age_seconds", "Since the worker was seen.", labels=WHO)
    loaded = GaugeMetricFamily("triage_llm_loaded", "1 if the llm can be asked, else 0.", labels=(*WHO, "llm"))
    breaker = GaugeMetricFamily(
        "triage_llm_breaker_open",
        "1 while the llm is loaded and not asked: it kept failing, its server asked for a pause, or it has cost enough "
        "today; else 0.",
        labels=(*WHO, "llm"),
    )
    for worker in workers:
        who = _who(worker)
        age.add_metric(who, worker["age_s"])
        for name, llm in worker["llms"].items():
            loaded.add_metric((*who, name), llm.get("error") is None)
            breaker.add_metric((*who, name), llm.get("breaker") is not None)
    return [age, loaded, breaker]


def _counted(workers: Sequence[RowMapping]) -> list[Metric]:
    """What the heartbeats carry; each family says itself what it is, as a worker may be of another release."""
    families: dict[str, Metric] = {}
    for worker in workers:
        who = dict(zip(WHO, _who(worker), strict=True))
        for name, told in worker["figures"].items():
            family = families.setdefault(name, Metric(name, told["help"], told["type"]))
            family.samples += [Sample(sample, labels | who, value) for sample, labels, value in told["samples"]]
    return list(families.values())


def _who(worker: RowMapping) -> tuple[str, str]:
    return f"{worker['host']}:{worker['pid']}", str(worker["id"])
