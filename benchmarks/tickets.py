"""The demo's tickets, as they are and put together to longer ones. Used by whatever is measured over texts."""

import json
from collections.abc import Iterator
from itertools import cycle
from typing import Any

from service.settings import DEMO_LLMS


def labelled() -> list[dict[str, Any]]:
    """Each ticket once, with its labels."""
    lines = (DEMO_LLMS / "tickets.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def texts() -> Iterator[str]:
    """The tickets' texts, again and again."""
    return cycle([ticket["body"] for ticket in labelled()])


def texts_of(words: int) -> Iterator[str]:
    """Texts of exactly so many words: those of one ticket after the other, and no ticket twice in a row."""
    stream = (word for text in texts() for word in text.split())
    while True:
        yield " ".join(next(stream) for _ in range(words))
