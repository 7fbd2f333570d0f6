"""Tickets made of a few words for each of three queues, enough of them that an llm can learn them in a second."""

import random
from collections.abc import Iterator
from typing import Any

WORDS = {
    "cards": ["card", "arrived", "pin", "blocked", "plastic", "contactless"],
    "refunds": ["refund", "money", "back", "return", "seller", "merchant"],
    "other": ["weather", "song", "joke", "recipe", "football", "holiday"],
}
COMMON = ["please", "my", "the", "is", "when", "help", "today", "why"]


def tickets(n: int = 240, labels: tuple[str, ...] = tuple(WORDS), seed: int = 0) -> Iterator[dict[str, Any]]:
    """Rows of a ticket file. A tenth of them speak with the words of another queue, so that nobody can be sure."""
    coin = random.Random(seed)
    for number in range(n):
        label = labels[number % len(labels)]
        spoken = coin.choice(labels) if coin.random() < 0.1 else label
        said = coin.choices(WORDS[spoken], k=3) + coin.choices(COMMON, k=3)
        coin.shuffle(said)
        yield {"id": str(number), "body": " ".join(said), "label": label}
