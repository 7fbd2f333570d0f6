"""Helpdesks under test: threads that post tickets all the time and note each answer, and what a helpdesk does next."""

import threading
import time
from dataclasses import dataclass

import httpx
from processes import Up, eventually

THREADS = 4
LONG = "I was charged twice for one payment at a shop and would like my money back soon. " * 20  # keeps an llm busy
PAUSE_S, BREAK_S = 0.02, 0.05  # after an answer, which leaves the cores to those it is about; and after an error


@dataclass(frozen=True)
class Answer:
    """What became of one POST: `status` is None where the connection broke before an answer."""

    body: str
    status: int | None
    seconds: float
    id: str | None = None
    headers: dict[str, str] | None = None
    text: str = ""


class Posters:
    """As a context manager it posts from entry to exit, or to `stop`. Each ticket has its own body and key."""

    def __init__(self, up: Up, name: str):
        self.up = up
        self.name = name
        self.answers: list[Answer] = []
        self.enough = threading.Event()
        self.threads = [threading.Thread(target=self._post, args=(n,)) for n in range(THREADS)]

    def __enter__(self) -> "Posters":
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> list[Answer]:
        self.enough.set()
        for thread in self.threads:
            thread.join()
        return self.answers

    def _post(self, thread: int) -> None:
        number = 0
        while not self.enough.is_set():
            with self.up.client() as client:
                while not self.enough.is_set():
                    number += 1
                    answer = send(client, f"Where is my card? {self.name} {thread}-{number}")
                    self.answers.append(answer)
                    if answer.status != 202:
                        break
                    self.enough.wait(PAUSE_S)
            self.enough.wait(BREAK_S)

    def until_answered(self, count: int, status: int = 202) -> None:
        """Waits for so many further answers of this status."""
        wanted = self.count(status) + count
        eventually(lambda: self.count(status) >= wanted, why=f"no further {status}: {self.answers[-3:]}")

    def count(self, status: int | None) -> int:
        return sum(answer.status == status for answer in self.answers)

    def send_again(self) -> None:
        """What a good client does: every ticket without a 202 is sent again with the same Idempotency-Key."""
        with self.up.client() as client:
            for answer in [one for one in self.answers if one.status != 202]:
                eventually(lambda body=answer.body: send(client, body).status == 202)

    def rows_of_each(self) -> set[int]:
        """How many rows the tickets have: {1} when none is lost and none is double."""
        rows = dict(self.up.sql("SELECT body, count(*) FROM tickets GROUP BY body"))
        return {rows.get(answer.body, 0) for answer in self.answers}

    def lost(self) -> list[str]:
        """Ids that were answered with 202 and have no row."""
        rows = {str(row[0]) for row in self.up.sql("SELECT id FROM tickets")}
        return [answer.id for answer in self.answers if answer.id is not None and answer.id not in rows]


def send(client: httpx.Client, body: str) -> Answer:
    """One POST under a key that belongs to its body."""
    begun = time.monotonic()
    try:
        answer = client.post("/v1/tickets", json={"body": body}, headers={"Idempotency-Key": body})
    except httpx.TransportError:
        return Answer(body, None, time.monotonic() - begun)
    found = answer.json().get("id") if answer.status_code == 202 else None
    return Answer(body, answer.status_code, time.monotonic() - begun, found, dict(answer.headers), answer.text)
