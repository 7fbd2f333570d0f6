"""One question or several: what codes of two levels give, how many questions they take, and what was not asked."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

import models.llm
from models.errors import EngineError
from models.llm.answer import answer, bounded
from models.llm.card import load_card
from models.llm.prompt import render
from workers.engines.base import Scores, Timings
from workers.engines.llamacpp import LlamaCpp
from workers.scoring import LEFT, score

DEMO = Path(models.llm.__file__).parent / "demo"
CARD = replace(load_card(DEMO / "primary.gguf"), prompt_version="instruct-plain-1", header="CODES")
FLAT = {
    "lost": 0.50, "stolen": 0.20, "blocked": 0.06, "fee": 0.10, "rate": 0.04, "limit": 0.03, "pin": 0.0004,
    "name": 0.0002,
}  # fmt: skip
CODES = {
    "lost": "A/A", "stolen": "A/B", "blocked": "A/C", "fee": "B/A", "rate": "B/B", "limit": "C/A", "pin": "D/A",
    "name": "D/B",
}  # fmt: skip
TIMES = Timings(4.0, 1.0, 0.0, 2.0, 1.0, 30, 20, 1)


class Listing:
    """An llm that is of one mind at both levels, seen through a list of the `top` likeliest tokens.

    `prompts` are what it was asked, in order; `understands` is what it puts on the codes of a member's question.
    """

    def __init__(self, flat: Mapping[str, float], codes: Mapping[str, str], top: int = 100, understands: float = 1.0):
        self.flat, self.codes, self.top, self.understands = flat, codes, top, understands
        self.prompts: list[str] = []

    def score(self, llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        self.prompts.append(prompt)
        found = self._level(prompt)
        listed = dict(islice(sorted(found.items(), key=lambda pair: -pair[1]), self.top))
        logprobs = {code: math.log(listed[code]) for code in codes if code in listed}
        bounds = bounded(map(math.log, listed.values()), [code for code in codes if code not in listed])
        return Scores(logprobs, len(logprobs) == len(codes), TIMES, bounds=bounds)

    def _level(self, prompt: str) -> dict[str, float]:
        group = prompt.partition("within group ")[2][:1]
        found: dict[str, float] = {}
        for label, p in self.flat.items():
            own, _, member = self.codes[label].partition("/")
            if group in ("", own):
                code = member if group else own
                found[code] = found.get(code, 0.0) + p
        scale = self.understands / math.fsum(found.values()) if group else 1.0
        return {code: p * scale for code, p in found.items()}


def ask(engine, codes: Mapping[str, str] = CODES) -> Scores:
    return score(engine, CARD, "tiny-primary", "where is my card", "intent", list(codes.values()))


def test_codes_of_one_level_are_one_question():
    engine = Listing(FLAT, {label: label for label in FLAT})
    engine._level = lambda prompt: FLAT
    found = ask(engine, {label: label for label in FLAT})
    assert found == Scores({label: pytest.approx(math.log(p)) for label, p in FLAT.items()}, True, TIMES)
    assert engine.prompts == [render("where is my card", "intent", "instruct-plain-1", "CODES")]


def test_groups_are_asked_by_falling_probability_until_the_rest_hold_less_than_a_thousandth():
    engine = Listing(FLAT, CODES)
    found = ask(engine)
    asked = [render("where is my card", "intent", "instruct-plain-1", "CODES", group) for group in ("", "A", "B")]
    assert engine.prompts == asked, "C has one member, and D holds 0.0006"
    known = {CODES[label]: math.log(p) for label, p in FLAT.items() if label not in ("pin", "name")}
    assert found.logprobs == pytest.approx(known)
    assert not found.complete
    assert found.bounds == pytest.approx({"D/A": math.log(0.0003), "D/B": math.log(0.0003)})
    said = answer(found.logprobs, CODES, None, found.bounds)
    total = math.fsum(FLAT.values())
    assert said.scores == pytest.approx({label: p / total for label, p in FLAT.items()}, abs=LEFT)
    assert (said.label, said.complete, said.label_mass) == ("lost", False, pytest.approx(0.93))


def test_where_all_groups_are_worth_it_all_is_known():
    even = dict.fromkeys(FLAT, 1 / len(FLAT))
    found = ask(Listing(even, CODES))
    assert found.complete
    assert found.bounds == {}
    assert {code: math.exp(value) for code, value in found.logprobs.items()} == pytest.approx(
        {CODES[label]: p for label, p in even.items()}
    )


def test_the_calls_add_up():
    engine = Listing(FLAT, CODES)
    assert ask(engine).timings == TIMES + TIMES + TIMES
    assert len(engine.prompts) == 3


def test_what_is_missing_at_either_level_has_the_most_that_it_can_have():
    """Two tokens are listed: of the groups A .76 and B .14, within A the first two with .70 of .76. What is not there
    shares what is left."""
    found = ask(Listing(FLAT, CODES, top=2))
    assert found.logprobs.keys() == {"A/A", "A/B", "B/A", "B/B"}
    left = (1 - 0.90) / 2
    assert math.exp(found.bounds["C/A"]) == pytest.approx(left)
    assert math.exp(found.bounds["D/A"]) + math.exp(found.bounds["D/B"]) == pytest.approx(left)
    assert math.exp(found.bounds["A/C"]) == pytest.approx(0.06)
    assert math.exp(found.logprobs["A/A"]) == pytest.approx(0.50)
    said = answer(found.logprobs, CODES, None, found.bounds)
    assert said.scores.keys() == CODES.keys()
    assert said.label_mass == pytest.approx(0.84), "a bound is no evidence"
    assert not said.complete


def test_an_llm_that_does_not_understand_the_second_question_has_a_small_mass_and_the_same_scores():
    whole, half = (ask(Listing(FLAT, CODES, understands=share)) for share in (1.0, 0.5))
    said, vague = (answer(found.logprobs, CODES, None, found.bounds) for found in (whole, half))
    assert vague.scores == pytest.approx(said.scores)
    assert vague.label_mass == pytest.approx(said.label_mass / 2)


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("garbage", [math.nan, -3.4028e38, None])
def test_no_score_at_either_level_is_an_error(at: int, garbage: float | None):
    engine = Listing(FLAT, CODES)
    sound = engine.score

    def broken(llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        if len(engine.prompts) < at:
            return sound(llm, prompt, codes)
        return Scores({} if garbage is None else dict.fromkeys(codes, garbage), garbage is not None, TIMES)

    engine.score = broken
    with pytest.raises(EngineError, match="no log-probability"):
        ask(engine)


class Deaf(Listing):
    """Lists no member of one group."""

    def __init__(self, flat: Mapping[str, float], group: str, garbage: float | None):
        super().__init__(flat, CODES)
        self.group, self.garbage = group, garbage

    def score(self, llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        found = super().score(llm, prompt, codes)
        if f"within group {self.group}" not in prompt:
            return found
        return Scores({} if self.garbage is None else dict.fromkeys(codes, self.garbage), False, TIMES)


@pytest.mark.parametrize("garbage", [math.nan, None])
def test_a_group_that_lists_no_member_counts_as_not_asked(garbage: float | None):
    """B holds 0.14, so it is asked; what is said of A stays."""
    engine = Deaf(FLAT, "B", garbage)
    found = ask(engine)
    assert (len(engine.prompts), found.timings, found.complete) == (3, TIMES + TIMES + TIMES, False)
    here = ("lost", "stolen", "blocked", "limit")
    assert found.logprobs == pytest.approx({CODES[label]: math.log(FLAT[label]) for label in here})
    assert {code: math.exp(found.bounds[code]) for code in ("B/A", "B/B")} == pytest.approx({"B/A": 0.07, "B/B": 0.07})
    said = answer(found.logprobs, CODES, None, found.bounds)
    assert (said.label, said.complete, said.label_mass) == ("lost", False, pytest.approx(0.79))


@pytest.mark.parametrize(("fee", "deaf"), [(0.10, "A"), (0.60, "B")])
def test_a_group_that_may_hold_the_answer_has_to_list_a_member(fee: float, deaf: str):
    """The likeliest, or B with two times 0.32, each likelier than any of A."""
    engine = Deaf(FLAT | {"fee": fee, "lost": 0.25, "stolen": 0.25, "blocked": 0.25}, deaf, None)
    with pytest.raises(EngineError, match="any label of the likeliest group"):
        ask(engine)


class Choosing:
    """A server without log-probabilities."""

    def __init__(self, choose: Callable[[str], str]):
        self.choose = choose

    def score(self, llm: str, prompt: str, codes: Sequence[str]) -> Scores:
        group = prompt.partition("within group ")[2][:1]
        return Scores({}, False, TIMES, chosen=self.choose(group))


@pytest.mark.parametrize(("group", "code", "calls"), [("B", "B/B", 2), ("C", "C/A", 1)])
def test_a_server_that_only_chooses_chooses_a_group_and_a_member(group: str, code: str, calls: int):
    found = ask(Choosing(lambda within: "B" if within else group))
    assert (found.chosen, found.logprobs, found.complete) == (code, {}, False)
    assert found.timings.call_ms == calls * TIMES.call_ms


TEXTS = [
    "where is my new card?",
    "i was charged twice for one payment",
    "please change my pin",
    "exchange rate to euros",
]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory):
    engine = LlamaCpp(tmp_path_factory.mktemp("engine"), parallel=2)
    engine.load(load_card(DEMO / "primary.gguf"))
    yield engine
    engine.close()


@pytest.mark.parametrize("top", [None, 20])
@pytest.mark.parametrize("text", TEXTS)
def test_two_levels_say_what_the_demo_llm_says_in_one(demo: LlamaCpp, text: str, top: int | None):
    """All 77 intents by llama.cpp are the truth. The same llm, asked for groups of theirs and for members, says the
    same within a thousandth, also where only 20 tokens are listed at a time."""
    codes = load_card(DEMO / "primary.gguf").codes["intent"]
    truth = demo.score("tiny-primary", render(text, "intent", "tuned-1"), list(codes.values()))
    exact = answer(truth.logprobs, codes, None)
    assert exact.complete
    flat = {label: math.exp(truth.logprobs[code]) for label, code in codes.items()}
    letters = "ABCDEFGHIJKLMNOP"
    two = {label: f"{letters[at // 16]}/{letters[at % 16]}" for at, label in enumerate(codes)}
    engine = Listing(flat, two, top or 100)
    found = ask(engine, two)
    said = answer(found.logprobs, two, None, found.bounds)
    assert said.label == exact.label
    assert max(abs(said.scores[label] - p) for label, p in exact.scores.items()) < 1e-3
    assert said.label_mass == pytest.approx(exact.label_mass, abs=1e-3)
