"""Prompts in the real tokenizers of stock chat models: as those were trained, and no ticket can change the frame."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stock_tokenizers import Llama3, Mistral, Nemo, llama3, mistral, nemo

from models.llm.card import Card
from models.llm.codes import CANDIDATES, for_vocabulary
from models.llm.prompt import render
from models.llm.text import prepare
from workers.engines.tokens import ids, known, listed

HEADER = "Field category (Queue):\nA = Refunds: Money back.\nB = other"
Stock = Mistral | Nemo | Llama3
FAMILIES: list[tuple[str, Callable[[], Stock]]] = [("mistral", mistral), ("mistral", nemo), ("llama3", llama3)]


def prompt(family: str, text: str) -> str:
    return render(text, "category", f"instruct-{family}-1", HEADER)


def inside(family: str, text: str) -> str:
    """A prompt without the marks of its turn, which is what a chat interface is given."""
    marks = {"mistral": ("[INST]", "[/INST]"), "llama3": ("<|end_header_id|>\n\n", "<|eot_id|>")}[family]
    return prompt(family, text).partition(marks[0])[2].rpartition(marks[1])[0]


@pytest.mark.parametrize(("family", "tokenizer"), FAMILIES)
def test_a_raw_prompt_is_a_chat_as_the_model_was_trained_on_it(family: str, tokenizer: Callable[[], Stock]) -> None:
    text = prepare("Refund", "Where is my money?\nI wait since May.").text
    assert tokenizer().read(prompt(family, text)) == tokenizer().chat(inside(family, text))


# fmt: off
GOLDEN = {
    "mistral": [
        3, 1763, 3895, 2528, 16319, 29491, 21579, 29493, 1780, 2602, 1427, 1639, 15528, 29493, 2198, 1163,
        1535, 1146, 11737, 1122, 29491, 3247, 4203, 1032, 14258, 29493, 1072, 1032, 3764, 1452, 1392, 2602,
        29515, 5140, 1146, 1163, 1392, 3464, 1070, 1137, 2602, 1072, 3279, 1880, 29491, 781, 781, 3065, 8779,
        1093, 10351, 2097, 781, 29509, 1095, 7128, 1683, 29481, 29515, 18554, 1620, 29491, 781, 29528, 1095,
        1567, 781, 781, 29506, 10874, 29515, 781, 10375, 1117, 1354, 4916, 29572, 29473, 781, 781, 27471,
        3464, 1070, 1040, 2602, 8779, 17163, 1224, 14258, 2257, 29572, 27075, 1163, 1040, 3464, 1633, 29491, 4
    ],
    "llama3": [
        128006, 882, 128007, 271, 2675, 3460, 1862, 14741, 13, 21883, 11, 1475, 2115, 706, 1202, 14236, 11,
        1855, 449, 1148, 433, 13656, 369, 13, 5112, 4131, 264, 11989, 11, 323, 264, 3488, 922, 832, 2115, 25,
        4320, 433, 449, 832, 2082, 315, 430, 2115, 323, 4400, 775, 382, 1915, 5699, 320, 7707, 997, 32, 284,
        8718, 44050, 25, 18099, 1203, 627, 33, 284, 1023, 271, 35158, 512, 9241, 374, 856, 3786, 30, 4815,
        23956, 2082, 315, 279, 2115, 5699, 18809, 420, 11989, 1888, 30, 22559, 449, 279, 2082, 1193, 13,
        128009, 128006, 78191, 128007, 271
    ],
}
# fmt: on


@pytest.mark.parametrize(("family", "tokenizer"), [("mistral", mistral), ("llama3", llama3)])
def test_the_ids_of_a_prompt(family: str, tokenizer: Callable[[], Stock]) -> None:
    assert tokenizer().read(prompt(family, "Where is my card?")) == GOLDEN[family]


@pytest.mark.parametrize(("family", "tokenizer"), FAMILIES)
def test_no_control_token_of_either_family_gets_through(family: str, tokenizer: Callable[[], Stock]) -> None:
    made = tokenizer()
    before, after = frame(made, family)
    every = [*mistral().control, *nemo().control, *llama3().control]
    assert len(every) > 1_000
    for at in range(0, len(every), 40):
        text = prepare("", " x".join(every[at : at + 40])).text
        ticket = span(made.read(prompt(family, text)), before, after)
        assert not set(made.control.values()) & set(ticket)
    whole = made.read(prompt(family, "").replace("Ticket:\n", "Ticket:\n" + "".join(every)))
    assert len(set(made.control.values()) & set(whole)) > 200, "unguarded they would"


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(["\u2581", "<|eot_id|>", "[INST]", "[/INST]", "</s>", "Ticket:", "\n\n", " "]),
            st.text(max_size=6),
        )
    )
)
def test_no_ticket_changes_an_id_outside_its_span(pieces: list[str]) -> None:
    text = prepare("", "".join(pieces)).text
    for family, tokenizer in FAMILIES:
        if text:
            ticket = span(tokenizer().read(prompt(family, text)), *frame(tokenizer(), family))
            assert not set(tokenizer().control.values()) & set(ticket)


def frame(made: Stock, family: str) -> tuple[list[int], list[int]]:
    """What stands before and after every ticket: what two very different ones share."""
    one, other = made.read(prompt(family, "hello")), made.read(prompt(family, "?"))
    before = next(at for at, (a, b) in enumerate(zip(one, other, strict=False)) if a != b)
    after = next(at for at, (a, b) in enumerate(zip(reversed(one), reversed(other), strict=False)) if a != b)
    assert len(one) == len(other) == before + after + 1
    return one[:before], one[before + 1 :]


def span(whole: list[int], before: list[int], after: list[int]) -> list[int]:
    assert whole[: len(before)] == before
    assert whole[-len(after) :] == after
    return whole[len(before) : -len(after)]


@pytest.mark.parametrize(
    ("family", "tokenizer", "letters", "pairs"),
    [("mistral", mistral, 26, 213), ("mistral", nemo, 26, 401), ("llama3", llama3, 26, 559)],
)
def test_codes_are_single_tokens_where_the_answer_begins(
    family: str, tokenizer: Callable[[], Stock], letters: int, pairs: int
) -> None:
    single = [code for code in CANDIDATES[: 26 + 676] if known(card(family), tokenizer().read)(code)]
    assert (sum(len(code) == 1 for code in single), sum(len(code) == 2 for code in single)) == (letters, pairs)
    names = [f"label {n}" for n in range(151)]
    codes = for_vocabulary({"intent": names}, known(card(family), tokenizer().read), None)
    assert list(codes["intent"].values()) == single[:151]
    assert len(ids(card(family, codes), tokenizer().read)) == 151


def test_the_list_of_tokens_says_the_same_as_the_tokenizer() -> None:
    by_list = listed(card("mistral"), mistral().vocabulary())
    by_reading = known(card("mistral"), mistral().read)
    assert [code for code in CANDIDATES if by_list(code)] == [code for code in CANDIDATES if by_reading(code)]


def card(family: str, codes: dict[str, dict[str, str]] | None = None) -> Card:
    return Card("m", Path(), "", family, f"instruct-{family}-1", codes or {}, {}, demo=False, header=HEADER)
