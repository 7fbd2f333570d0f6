"""The demo's fallback asked about one ticket at a time: one token against JSON, the second field against the first.

Called by bench.py. The fallback, because in the smaller primary a call costs more than its tokens, as in no real llm.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.larger import larger
from benchmarks.pairs import RATE, TIME, Call, Pairs, Side
from benchmarks.stage import Stage
from benchmarks.tickets import texts_of
from models.errors import TriageError
from models.llm.card import Card, load_card
from models.llm.prompt import render
from models.llm.text import prepare
from service.settings import DEMO_LLMS
from workers.engines.llamacpp import LlamaCpp

FIELD, OTHER = "category", "intent"
SHORT, LONG = 12, 300  # words
TICKETS = 500
LEAST_TOKENS = 300  # of the prompts of which the second field is compared with the first


@contextmanager
def one_token(stage: Stage, seconds: float) -> Iterator[list[Pairs]]:
    """In one slot, so that nothing else has a part in a call."""
    shipped = load_card(DEMO_LLMS / "fallback.gguf")
    with _engine(stage.folder, slots=1) as engine:
        tiny, more = Asked(engine, shipped), Asked(engine, larger(shipped, stage.folder / "larger.gguf"))
        yield [
            Pairs(
                f"one_token_over_json{name}", llm.sides(), RATE, partial(llm.answers, _prepared(words), again), seconds
            )
            for name, llm, words, again in (
                ("", tiny, SHORT, True),
                ("_300_words", tiny, LONG, True),
                ("_larger_llm", more, SHORT, True),
                ("_larger_llm_300_words", more, LONG, True),
                ("_new_ticket", tiny, SHORT, False),
                ("_new_ticket_300_words", tiny, LONG, False),
            )
        ]


@contextmanager
def second_field(stage: Stage, seconds: float) -> Iterator[list[Pairs]]:
    """In an engine with all its slots, as workers have it: it must find the one that has read the ticket."""
    with _engine(stage.folder, slots=4) as engine:
        llm = Asked(engine, load_card(DEMO_LLMS / "fallback.gguf"))
        sides = Side("second field", {"llm": llm.name}), Side("first field", {"llm": llm.name})
        yield [Pairs("second_field_over_first", sides, TIME, partial(llm.fields, _prepared(LONG)), seconds)]


@contextmanager
def _engine(folder: Path, slots: int) -> Iterator[LlamaCpp]:
    engine = LlamaCpp(folder, parallel=slots)
    try:
        yield engine
    finally:
        engine.close()


def _prepared(words: int) -> list[str]:
    return [prepare("", text).text for text in islice(texts_of(words), TICKETS)]


class Asked:
    """One llm, and both forms of its answer."""

    def __init__(self, engine: LlamaCpp, card: Card):
        self.engine = engine
        self.card = engine.load(card)
        self.name = self.card.name
        self.length = self._median_answer()

    def sides(self) -> tuple[Side, Side]:
        one, many = ({"llm": self.name, "tokens": tokens} for tokens in (1, self.length))
        return Side("one token", one), Side("JSON", many)

    def answers(self, texts: list[str], again: bool, number: int) -> tuple[Call, Call]:
        """The same ticket twice: one token with all labels' log-probabilities, and a forced JSON answer.

        Before either the slot is brought to the same state: it has read this ticket for another field (`again`), or
        another ticket, of which only the header is this one's.
        """
        text = texts[number % len(texts)]
        before = self._prompt(text if again else "warm", OTHER)
        calls = {}
        for form in (self.score, self.json) if number % 2 == 0 else (self.json, self.score):
            self._generate(before, 1)
            calls[form] = form(text, FIELD)
        return calls[self.score], calls[self.json]

    def fields(self, texts: list[str], number: int) -> tuple[Call, Call]:
        """Both fields of a ticket, one after the other as a worker asks them; each field is the first in its turn."""
        text = texts[number % len(texts)]
        order = (FIELD, OTHER) if number % 2 == 0 else (OTHER, FIELD)
        first, second = (self.score(text, field) for field in order)
        if first.prompt_tokens < LEAST_TOKENS:
            raise TriageError(f"A prompt of {first.prompt_tokens} tokens is too short for the second field's ratio.")
        return second, first

    def score(self, text: str, field: str) -> Call:
        """As the product asks. An llm that knows one field only gets its codes: what costs is the prompt."""
        codes = list(self.card.codes.get(field, self.card.codes[FIELD]).values())
        prompt, began = self._prompt(text, field), time.perf_counter()
        timings = self.engine.score(self.name, prompt, codes).timings
        ms = (time.perf_counter() - began) * 1e3
        return Call(ms, timings.prompt_tokens or 0, timings.cached_tokens or 0)

    def json(self, text: str, field: str) -> Call:
        """As many tokens as a JSON answer has. The demo's llms cannot write one, so only its length counts."""
        prompt, began = self._prompt(text, field), time.perf_counter()
        timings = self._generate(prompt, self.length)["timings"]
        ms = (time.perf_counter() - began) * 1e3
        return Call(ms, timings["cache_n"] + timings["prompt_n"], timings["cache_n"])

    def _prompt(self, text: str, field: str) -> str:
        return render(text, field, self.card.prompt_version)

    def _generate(self, prompt: str, tokens: int) -> dict[str, Any]:
        """By the same server as a score, with the same cached prefix, and without a grammar, which would cost more."""
        wanted = {"max_tokens": tokens, "ignore_eos": True, "samplers": ["temperature"], "temperature": 0.0}
        reply = self.engine._of(self.name).server.complete(prompt, [], **wanted)
        if reply.get("usage", {}).get("completion_tokens") != tokens:
            raise TriageError(f"The llm {self.name} did not generate an answer of the wanted length.")
        return reply

    def _median_answer(self) -> int:
        """How many tokens of this llm {"category":"LABEL"} has, for the label that is the median in length."""
        begin = len(self.engine.tokenize(self.name, ""))
        answers = [f'{{"{FIELD}":"{label}"}}' for label in self.card.codes[FIELD]]
        lengths = sorted(len(self.engine.tokenize(self.name, answer)) - begin for answer in answers)
        return lengths[len(lengths) // 2]
