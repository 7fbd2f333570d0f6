"""The numbers of the first page: is it on, what came in, what needs somebody, is it right. Called by `home`."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import RowMapping, select, text
from sqlalchemy.orm import Session

from models import metrics
from models.tables import Worker
from service.experiments.report import EXHAUSTIVE
from service.tickets.backlog import LIVE, backlog

WINDOWS = {"24h": "24 hours", "7d": "7 days", "30d": "30 days"}
SPANS = {"24h": timedelta(days=1), "7d": timedelta(days=7), "30d": timedelta(days=30)}
MOST = 5

SINCE = text("SELECT now() - CAST(:span AS interval)")
STATUSES = text("""
    SELECT count(*) AS received, count(*) FILTER (WHERE status = 'done') AS done,
           count(*) FILTER (WHERE status = 'failed') AS failed,
           count(*) FILTER (WHERE status IN ('queued', 'working')) AS open
    FROM tickets WHERE received_at >= now() - CAST(:span AS interval)""")
QUEUES = text("""
    SELECT coalesce(label, '') AS label, count(*) FILTER (WHERE action = 'automate') AS automate,
           count(*) FILTER (WHERE action = 'suggest') AS suggest, count(*) FILTER (WHERE action = 'review') AS review,
           count(*) AS n
    FROM triages WHERE newest AND field = :field AND received_at >= now() - CAST(:span AS interval)
    GROUP BY label ORDER BY n DESC, label""")
FAILED = text("""
    SELECT id, subject, left(body, 200) AS body, last_error, received_at FROM tickets
    WHERE status = 'failed' AND erased_at IS NULL AND received_at >= now() - CAST(:span AS interval)
    ORDER BY received_at DESC, id DESC
    LIMIT :most""")
# A ticket somebody has reviewed needs nobody any more, as long as it still says the same; nor does one that is erased.
UNSURE = text("""
    SELECT t.id, t.subject, left(t.body, 200) AS body, d.label, d.confidence, d.calibrated, t.received_at
    FROM triages d JOIN tickets t ON t.id = d.ticket_id
    WHERE d.newest AND d.run = t.run AND d.field = :field AND d.action = 'review' AND t.erased_at IS NULL
      AND d.received_at >= now() - CAST(:span AS interval) AND NOT EXISTS (
        SELECT FROM verdicts v WHERE v.ticket_id = t.id AND v.field = d.field AND v.source = 'review'
          AND v.content_sha256 = t.content_sha256)
    ORDER BY d.confidence NULLS LAST, t.id LIMIT :most""")
JUDGED = text("""
    SELECT source, count(*) AS n, count(*) FILTER (WHERE truth = label) AS correct
    FROM (SELECT DISTINCT ON (t.id, v.source) v.source, v.label AS truth, d.label
          FROM tickets t JOIN verdicts v ON v.ticket_id = t.id AND v.content_sha256 = t.content_sha256
          JOIN triages d ON d.ticket_id = t.id AND d.newest AND d.run = t.run AND d.field = v.field
          WHERE v.field = :field AND t.received_at >= now() - CAST(:span AS interval)
          ORDER BY t.id, v.source, v.id DESC) judged
    GROUP BY 1 ORDER BY 1""")


@dataclass(frozen=True)
class Home:
    """Everything the first page shows of one window, which begins at `since` by Postgres's clock."""

    since: datetime
    queue: dict[str, Any]
    workers: list[dict[str, Any]]
    statuses: RowMapping
    queues: list[RowMapping]
    failed: list[RowMapping]
    unsure: list[RowMapping]
    accuracy: list[dict[str, Any]]
    looked_at: int


def read(session: Session, window: str, field: str, limit: int) -> Home:
    """The figures of one window of WINDOWS for one field; the queue is counted up to its limit."""
    given = {"span": SPANS[window], "field": field, "most": MOST}
    judged = session.execute(JUDGED, given).mappings().all()
    return Home(
        since=session.execute(SINCE, given).scalar_one(),
        queue=backlog(session, limit),
        workers=list(session.scalars(select(Worker.llms).where(LIVE))),
        statuses=session.execute(STATUSES, given).mappings().one(),
        queues=list(session.execute(QUEUES, given).mappings()),
        failed=list(session.execute(FAILED, given).mappings()),
        unsure=list(session.execute(UNSURE, given).mappings()),
        accuracy=[_accuracy(row) for row in judged if row["source"] in EXHAUSTIVE],
        looked_at=sum(row["n"] for row in judged if row["source"] not in EXHAUSTIVE),
    )


def _accuracy(row: RowMapping) -> dict[str, Any]:
    found = metrics.proportion(row["correct"], row["n"])
    return {"source": row["source"], "n": found.n, "value": found.value, "low": found.low, "high": found.high}
