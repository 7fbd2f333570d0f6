"""GET /v1/tickets over a million tickets, each filter with a rare and a common value, over GET of one by primary key.

Called by bench.py. What is compared is the slowest of all filters and pages with the primary key.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from statistics import median
from typing import Any

import httpx

from benchmarks import filling
from benchmarks.filling import COMMON, RARE, SEARCHED
from benchmarks.ratios import Window
from benchmarks.rounds import Comparison
from benchmarks.stage import Stage, free_port, listens, python, until

TICKETS_A_SECOND = 100_000  # of a window: a million tickets at ten seconds
CALLS_A_SECOND = 2  # of each page
STEPS = 10  # pages of 495 tickets, after which comes the 100th page of 50
FAR = 495

TIMES = """
    SELECT to_char(max(received_at) - (max(received_at) - min(received_at)) / 1000, 'YYYY-MM-DD"T"HH24:MI:SSZ'),
           to_char(min(received_at) + (max(received_at) - min(received_at)) / 1000, 'YYYY-MM-DD"T"HH24:MI:SSZ')
    FROM tickets"""
SOME = "SELECT id FROM tickets WHERE source = 'rare' ORDER BY md5(id::text) LIMIT %s"
SHOWN = 5
Ticket = dict[str, Any]


def _filters(stage: Stage) -> list[Ticket]:
    """Every filter alone, with a value that nearly all tickets have and with one that few have."""
    ((late, early),) = stage.sql("ours", TIMES)
    return [
        {},
        *({"status": value} for value in ("done", "failed")),
        *({"label": value} for value in (COMMON, RARE)),
        *({"llm": value} for value in ("primary", RARE)),
        *({"action": value} for value in ("suggest", "automate")),
        *({"source": value} for value in ("crm", RARE)),
        *({"q": value} for value in ("card", SEARCHED)),
        *({"since": value} for value in (early, late)),
        *({"until": value} for value in (late, early)),
        *({"min_confidence": value} for value in (0.1, 0.999)),
        *({"max_confidence": value} for value in (0.9, 0.0)),
        {"field": "category"},
        {"external_id": "7"},
    ]


@contextmanager
def filters(stage: Stage, seconds: float) -> Iterator[list[Comparison]]:
    """One API process over a filled table, asked by one client."""
    filling.fill(stage, "ours", round(TICKETS_A_SECOND * seconds))
    port = free_port()
    with (
        stage.process("ours", python("service.cli", "serve"), stage.ours(TRIAGE_PORT=str(port))) as child,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {stage.key}"}) as client,
    ):
        until(partial(listens, port), child, "the API does not answer")
        asked = Asked(client, stage, max(1, round(CALLS_A_SECOND * seconds)))
        yield [Comparison("filter_over_primary_key", asked.worst, asked.primary_key)]


class Asked:
    """What is asked, and how long the median answer takes in milliseconds."""

    def __init__(self, client: httpx.Client, stage: Stage, calls: int):
        self.client, self.stage, self.calls = client, stage, calls
        self.pages = [page for wanted in _filters(stage) for page in self._pages(wanted)]
        self.ids = [one for (one,) in stage.sql("ours", SOME, len(self.pages))]

    def worst(self) -> Window:
        """The slowest page of all."""
        took = self._medians([("/v1/tickets", page) for page in self.pages])
        slowest = sorted(zip(took, map(str, self.pages), strict=True), reverse=True)
        return Window("worst filter", slowest[0][0], "ms", {"pages": len(took), "slowest": slowest[:SHOWN]})

    def primary_key(self) -> Window:
        """Tickets from all over the table."""
        return Window("primary key", median(self._medians([(f"/v1/tickets/{one}", {}) for one in self.ids])), "ms")

    def _pages(self, wanted: Ticket) -> list[Ticket]:
        """The first page, and the hundredth, or the last where there are fewer."""
        cursor = None
        for _ in range(STEPS):
            found = self._get("/v1/tickets", wanted | {"limit": FAR} | ({"cursor": cursor} if cursor else {}))
            if found["next_cursor"] is None:
                break
            cursor = found["next_cursor"]
        return [wanted, *([wanted | {"cursor": cursor}] if cursor else [])]

    def _medians(self, asked: list[tuple[str, Ticket]]) -> list[float]:
        """Milliseconds of each, asked in turns: a moment in which the machine is busy weighs on all alike."""
        for one in asked:
            self._get(*one)
        took: list[list[float]] = [[] for _ in asked]
        for _ in range(self.calls):
            for times, one in zip(took, asked, strict=True):
                began = time.perf_counter()
                self._get(*one)
                times.append(1e3 * (time.perf_counter() - began))
        return [median(times) for times in took]

    def _get(self, path: str, parameters: Ticket) -> Any:
        answer = self.client.get(path, params=parameters, timeout=60)
        answer.raise_for_status()
        return answer.json()
