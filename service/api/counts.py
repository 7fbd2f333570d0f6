"""What this API process has taken and refused from its start on, for /metrics. Called by tickets_in and problems.

All of it is counted in the event loop's thread, where no two counts meet.
"""

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from starlette.requests import Request

from models.errors import Forbidden, QueueFull, TooManyFailures, Unauthorized, Unavailable, WritingFull
from service.intake.submission import Submission

BAD, OURS = "bad", "failed"
REASONS: dict[type[BaseException], str] = {
    QueueFull: "queue_full",
    WritingFull: "writing_full",
    Unavailable: "unavailable",
    Unauthorized: "unauthorized",
    Forbidden: "unauthorized",
    TooManyFailures: "failed_keys",
}


class Counts:
    """Tickets by whether they were new, and refusals by their reason; each has its series from the start."""

    def __init__(self) -> None:
        self.tickets = {"new": 0, "repeated": 0}
        self.refused = dict.fromkeys((*REASONS.values(), BAD, OURS), 0)

    def taken(self, submission: Submission) -> None:
        """It is answered with receipts; beside its tickets there may be bad ones in its batch."""
        pairs = zip(submission.receipts, submission.tickets, strict=False)
        new = sum(receipt.id == str(ticket.id) for receipt, ticket in pairs)  # a repeat has the id of its row
        self.tickets["new"] += new
        self.tickets["repeated"] += len(submission.receipts) - new
        self.refused[BAD] += len(submission.refused)

    def refuse(self, request: Request, error: Exception) -> None:
        """A request ends with this error; only those that bring tickets count."""
        if _brings_tickets(request):
            self.refused[REASONS.get(type(error)) or (BAD if getattr(error, "status", 500) < 500 else OURS)] += 1

    def families(self, pending: int) -> list[Metric]:
        """As Prometheus reads it, with how many requests are `pending`."""
        tickets = CounterMetricFamily(
            "triage_intake_tickets",
            "Tickets that this API process took: new ones, and repeated ones, which had a row before.",
            labels=["outcome"],
        )
        refused = CounterMetricFamily(
            "triage_intake_refused",
            "Requests with tickets that this API process refused, and bad tickets in batches that it took.",
            labels=["reason"],
        )
        for family, counted in ((tickets, self.tickets), (refused, self.refused)):
            for name, times in counted.items():
                family.add_metric([name], times)
        told = "Requests of this API process whose tickets wait to be written."
        return [tickets, refused, GaugeMetricFamily("triage_intake_pending", told, pending)]


def _brings_tickets(request: Request) -> bool:
    path = request.scope["path"]
    return request.method == "POST" and (path in ("/v1/tickets", "/v1/tickets/batch") or path.startswith("/v1/hooks/"))
