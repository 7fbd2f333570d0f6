"""The demo's llms called by themselves, with ready prompts, as many at once as they have slots.

Called by draining.py, which compares the service with it.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

from benchmarks.ratios import Window
from benchmarks.tickets import texts
from models.llm.card import load_card
from models.llm.prompt import render
from models.llm.text import prepare
from service.settings import DEMO_LLMS
from workers.engines.llamacpp import LlamaCpp

FIELD = "category"
PROMPTS = 1000


@contextmanager
def bare(folder: Path, demo: str) -> Iterator["Bare"]:
    """One of the demo's llms in the product's own engine, in this process, for as long as the block lasts."""
    engine = LlamaCpp(folder)
    try:
        yield Bare(engine, demo)
    finally:
        engine.close()


class Bare:
    """One llm without anything around it."""

    def __init__(self, engine: LlamaCpp, demo: str):
        self.engine, self.slots = engine, engine.parallel
        card = engine.load(load_card(DEMO_LLMS / f"{demo}.gguf"))
        self.name, self.codes = card.name, list(card.codes[FIELD].values())
        bodies = islice(texts(), PROMPTS)
        self.prompts = [render(prepare("", body).text, FIELD, card.prompt_version) for body in bodies]

    def tokens(self, seconds: float) -> Window:
        """One token with the log-probabilities of all labels: calls a second, from the first to the last answer."""
        began = time.perf_counter()
        parts = [self.prompts[slot :: self.slots] for slot in range(self.slots)]
        with ThreadPoolExecutor(self.slots) as pool:
            done = sum(pool.map(lambda part: _calls(part, self._score, began + seconds), parts))
        wall = time.perf_counter() - began
        facts = {"tickets": done, "seconds": wall, "llm": self.name, "at_once": self.slots}
        return Window("one token", done / wall, "tickets/s", facts)

    def _score(self, prompt: str) -> None:
        self.engine.score(self.name, prompt, self.codes)


def _calls(prompts: list[str], call: Callable[[str], object], end: float) -> int:
    """How many calls one slot makes, one after the other, until the end."""
    done = 0
    while done == 0 or time.perf_counter() < end:
        call(prompts[done % len(prompts)])
        done += 1
    return done
