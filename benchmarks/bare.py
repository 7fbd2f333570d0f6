"""The demo's llms called by themselves, with ready prompts, as many at once as they have slots: one token, or JSON.

Called by bench.py; draining.py compares the service with it.
"""

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import cycle, islice
from pathlib import Path

from benchmarks.ratios import Window
from benchmarks.rounds import Comparison
from benchmarks.stage import Stage
from models.errors import TriageError
from models.llm.card import load_card
from models.llm.prompt import render
from models.llm.text import prepare
from service.settings import DEMO_LLMS
from workers.engines.llamacpp import LlamaCpp

FIELD = "category"
PROMPTS = 1000
JSON_TOKENS = 32  # a label, a confidence and a few words, as the usual tokenizers count them


def texts() -> Iterator[str]:
    """The demo's tickets, again and again."""
    lines = (DEMO_LLMS / "tickets.jsonl").read_text(encoding="utf-8").splitlines()
    return cycle([json.loads(line)["body"] for line in lines])


@contextmanager
def bare(folder: Path, demo: str) -> Iterator["Bare"]:
    """One of the demo's llms in the product's own engine, in this process, for as long as the block lasts."""
    engine = LlamaCpp(folder)
    try:
        yield Bare(engine, demo)
    finally:
        engine.close()


@contextmanager
def one_token(stage: Stage, seconds: float) -> Iterator[list[Comparison]]:
    """The larger of the demo's llms: in the smaller one a call costs more than its tokens, as in no real llm."""
    with bare(stage.folder, "fallback") as llm:
        yield [Comparison("one_token_over_json", partial(llm.tokens, seconds), partial(llm.json, seconds))]


class Bare:
    """One llm without anything around it."""

    def __init__(self, engine: LlamaCpp, demo: str):
        self.engine, self.slots = engine, engine.parallel
        card = engine.load(load_card(DEMO_LLMS / f"{demo}.gguf"))
        self.name, self.codes = card.name, list(card.codes[FIELD].values())
        bodies = islice(texts(), PROMPTS)
        self.prompts = [render(prepare("", body).text, FIELD, card.prompt_version) for body in bodies]

    def tokens(self, seconds: float) -> Window:
        """One token, with the log-probabilities of all labels."""
        return self._window("one token", 1, seconds, lambda prompt: self.engine.score(self.name, prompt, self.codes))

    def json(self, seconds: float) -> Window:
        """As many tokens as a JSON answer. The demo's llms cannot write one, so only its length counts."""
        return self._window("JSON", JSON_TOKENS, seconds, self._generate)

    def _generate(self, prompt: str) -> None:
        """By the same server as a score, with the same cached prefix, and without a grammar, which would cost more."""
        wanted = {"prompt": prompt, "max_tokens": JSON_TOKENS, "ignore_eos": True, "temperature": 0.0}
        reply = self.engine._of(self.name).server.handle_completions(wanted | {"cache_prompt": True})
        if reply.get("usage", {}).get("completion_tokens") != JSON_TOKENS:
            raise TriageError(f"The llm {self.name} did not generate an answer of the wanted length.")

    def _window(self, side: str, tokens: int, seconds: float, call: Callable[[str], object]) -> Window:
        """Calls a second by all slots, from the first call to the last answer."""
        began = time.perf_counter()
        parts = [self.prompts[slot :: self.slots] for slot in range(self.slots)]
        with ThreadPoolExecutor(self.slots) as pool:
            done = sum(pool.map(lambda part: _calls(part, call, began + seconds), parts))
        wall = time.perf_counter() - began
        facts = {"tickets": done, "seconds": wall, "llm": self.name, "at_once": self.slots, "tokens": tokens}
        return Window(side, done / wall, "tickets/s", facts)


def _calls(prompts: list[str], call: Callable[[str], object], end: float) -> int:
    """How many calls one slot makes, one after the other, until the end."""
    done = 0
    while done == 0 or time.perf_counter() < end:
        call(prompts[done % len(prompts)])
        done += 1
    return done
