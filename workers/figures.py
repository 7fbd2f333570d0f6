"""What one worker process counts from its start on; the heartbeat carries it to /metrics. Called by llms and record."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from models.errors import EngineDown, TicketRejected, TriageError
from workers.engines.base import Timings

# The demo's llms take a millisecond, one in Ollama at most its deadline of 30 s.
CALL_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# A ticket may wait for as long as an engine is away.
TICKET_S = (0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200, 86400)
PARTS = {
    "call": "The whole call of each recorded answer, by the worker's clock",
    "slot": "Waiting for a free slot in each recorded answer's call",
    "load": "Loading weights in each recorded answer's call",
    "prefill": "Reading the prompt in each recorded answer's call",
    "decode": "Writing the token in each recorded answer's call",
}


GIVEN_UP = ("attempts", "workers")


class Figures:
    """Counters of what Postgres has taken, and of what was asked for it. All methods may be called from any thread."""

    def __init__(self) -> None:
        self.registry = to = CollectorRegistry()
        self.answers = Counter("triage_answers", "Answers recorded.", ["llm", "role", "reason"], registry=to)
        self.tokens = Counter("triage_prompt_tokens", "Prompt tokens of the recorded answers.", ["llm"], registry=to)
        self.cached = Counter(
            "triage_cached_prompt_tokens", "Those of triage_prompt_tokens computed before.", ["llm"], registry=to
        )
        self.parts = {
            part: Histogram(f"triage_llm_{part}_seconds", f"{what}.", ["llm"], buckets=CALL_S, registry=to)
            for part, what in PARTS.items()
        }
        self.decisions = Counter("triage_decisions", "Decisions recorded.", ["field", "action"], registry=to)
        self.wait = Histogram("triage_ticket_wait_seconds", "Queued to claimed.", buckets=TICKET_S, registry=to)
        self.label = Histogram(
            "triage_ticket_time_to_label_seconds", "Queued to recorded.", buckets=TICKET_S, registry=to
        )
        self.refused = Counter("triage_attempts_refused", "Attempts that a ticket has one less of.", registry=to)
        self.lost = Counter("triage_leases_lost", "Results not written: the ticket was not ours any more.", registry=to)
        self.expired = Counter(
            "triage_leases_expired", "Tickets whose worker died, froze or took too long.", registry=to
        )
        self.given_up = Counter(
            "triage_tickets_given_up",
            "Tickets that became failed: all attempts were refused, or several workers in a row were lost with it.",
            ["reason"],
            registry=to,
        )
        for reason in GIVEN_UP:
            self.given_up.labels(reason)  # a series from the start, or the first failure would not look like one
        self.failures = Counter("triage_llm_failures", "Calls without an answer.", ["llm", "error"], registry=to)
        self.in_flight = Gauge("triage_llm_in_flight", "Calls in the engine's hands.", ["llm"], registry=to)

    @contextmanager
    def asking(self, llm: str) -> Iterator[None]:
        """A call is in flight; one that fails is counted: down, rejected, or failed."""
        in_flight = self.in_flight.labels(llm)
        in_flight.inc()
        try:
            yield
        except TriageError as error:
            self.failures.labels(llm, _kind(error)).inc()
            raise
        finally:
            in_flight.dec()

    def answered(self, llm: str, role: str, reason: str, timings: Sequence[Timings]) -> None:
        """Answers were recorded; what their engine did not report is not counted."""
        self.answers.labels(llm, role, reason).inc(len(timings))
        self.tokens.labels(llm).inc(sum(one.prompt_tokens or 0 for one in timings))
        self.cached.labels(llm).inc(sum(one.cached_tokens or 0 for one in timings))
        for part, histogram in self.parts.items():
            spent = [ms for ms in (getattr(one, f"{part}_ms") for one in timings) if ms is not None]
            if spent:
                of_llm = histogram.labels(llm)
                for spent_ms in spent:
                    of_llm.observe(spent_ms / 1000)

    def labelled(self, wait_ms: float, time_to_label_ms: float) -> None:
        """A ticket was recorded."""
        self.wait.observe(wait_ms / 1000)
        self.label.observe(time_to_label_ms / 1000)

    def swept(self, lost: int, given_up: int) -> None:
        """So many leases had run out, and so many of their tickets are failed by that."""
        self.expired.inc(lost)
        self.given_up.labels("workers").inc(given_up)

    def dump(self) -> dict[str, Any]:
        """All of it as JSON that explains itself, since whoever reads it may be of another release."""
        return {
            family.name: {
                "type": family.type,
                "help": family.documentation,
                "samples": [[s.name, s.labels, s.value] for s in family.samples if not s.name.endswith("_created")],
            }
            for family in self.registry.collect()
        }


def _kind(error: TriageError) -> str:
    """Whose trouble it is: the engine's for now, the ticket's, or something else's."""
    if isinstance(error, EngineDown):
        return "down"
    return "rejected" if isinstance(error, TicketRejected) else "failed"
