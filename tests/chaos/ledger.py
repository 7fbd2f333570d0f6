"""What the callers sent, and what they were told of it, ticket by ticket. Written by callers.py, read by proof.py."""

import threading
from collections import Counter
from dataclasses import dataclass


@dataclass(slots=True)
class Entry:
    """One ticket. `told` is the id of its 202, `unsure` that a request ended without saying what became of it.

    `refused` is for what no request can ever bring in; other refusals (429) are of one request.
    """

    poison: bool = False
    told: str | None = None
    unsure: bool = False
    refused: bool = False
    run: int = 1

    @property
    def state(self) -> str:
        """accepted, unknown (it may have become a row), or refused: no request has made a row of it."""
        if self.told is not None:
            return "accepted"
        return "unknown" if self.unsure and not self.refused else "refused"


class Ledger:
    """By name: each ticket carries its own as its requester. Callers are threads."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.lock = threading.Lock()

    def sent(self, names: tuple[str, ...], *, poison: bool = False) -> None:
        """Before the first byte leaves: from now on a row may exist."""
        with self.lock:
            for name in names:
                self.entries.setdefault(name, Entry(poison))

    def answered(self, status: str) -> None:
        with self.lock:
            self.answers[status] += 1

    def unsure(self, names: tuple[str, ...]) -> None:
        with self.lock:
            for name in names:
                self.entries[name].unsure = True

    def accepted(self, name: str, ticket_id: str) -> None:
        """The same ticket is the same id, however often and wherever it was posted."""
        with self.lock:
            entry = self.entries[name]
            if entry.told not in (None, ticket_id):
                self.wrong.append(f"{name} was accepted as {entry.told} and as {ticket_id}")
            entry.told = ticket_id

    def refused(self, names: tuple[str, ...]) -> None:
        with self.lock:
            for name in names:
                self.entries[name].refused = True

    def edited(self, name: str) -> None:
        """Other content was accepted: a second run, on the new text."""
        with self.lock:
            self.entries[name].run = 2

    def states(self) -> Counter[str]:
        with self.lock:
            return Counter(entry.state for entry in self.entries.values())
