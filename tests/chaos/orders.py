"""What the callers post, drawn by chance: plain tickets, known ones, batches, bad ones, poison. Used by callers.py."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

QUESTIONS = (
    "Where is my card",
    "I was charged twice for one payment",
    "My top-up is pending for days",
    "How do I change my address",
    "I want my money back",
)
POISON = "qxpoisonqx"  # the engine answers a prompt with this word without a score
BATCH = 20


@dataclass(frozen=True)
class Order:
    """One request, the same bytes and the same Idempotency-Key however often it is sent.

    `names` are its tickets; `edits` is for other content under the id of a ticket that was accepted before.
    """

    path: str
    content: bytes
    names: tuple[str, ...]
    key: str | None = None
    poison: bool = False
    edits: bool = False


def orders(rng: random.Random, caller: str) -> Iterator[Order]:
    """Without end. A name is never used again, except by the edit that follows its ticket at once."""
    number = 0
    while True:
        number += 1
        name = f"{caller}-{number}"
        kind = rng.choices(("keyed", "known", "edited", "batch", "bad", "poison"), weights=(50, 20, 12, 10, 6, 2))[0]
        text = f"{rng.choice(QUESTIONS)}? {name}"
        if kind == "keyed":
            yield _single({"body": text, "requester": name}, key=name)
        elif kind == "known":
            yield _single({"body": text, "requester": name, "external_id": name})
        elif kind == "edited":
            # Keyed both times: a first request that was frozen on its way must not come as news after the second.
            known = {"requester": name, "external_id": name}
            yield _single(known | {"body": text}, key=name)
            yield _single(known | {"body": f"{text} It is urgent."}, key=f"{name}-edit", edits=True)
        elif kind == "batch":
            yield _batch(rng, name, text)
        elif kind == "bad":
            yield _single({"body": text, "requester": name, "colour": "none of ours"}, key=name)
        else:
            yield _single({"body": f"{text} {POISON}", "requester": name}, key=name, poison=True)


def _single(ticket: dict[str, Any], **more: Any) -> Order:
    return Order("/v1/tickets", json.dumps(ticket).encode(), (ticket["requester"],), **more)


def _batch(rng: random.Random, name: str, text: str) -> Order:
    """Its first ticket is bad; the others have external ids, or the batch a key, or both."""
    names = tuple(f"{name}-{place}" for place in range(BATCH))
    known, keyed = rng.choice(((True, False), (False, True), (True, True)))
    tickets = [{"body": f"{text} {one}", "requester": one} | ({"external_id": one} if known else {}) for one in names]
    tickets[0]["body"] = 5
    return Order("/v1/tickets/batch", json.dumps({"tickets": tickets}).encode(), names, key=name if keyed else None)
