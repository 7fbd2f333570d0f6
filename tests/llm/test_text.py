"""The cleaner: what it keeps and cuts, that no text can act as a control token, and that it is linear."""

import html
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.llm.text import BUDGET, MAX_CHARS, neutralise, prepare

CONTROL = [
    "<s>", "</s>", "<unk>", "<pad>", "[INST]", "[/INST]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CALLS]",
    "[AVAILABLE_TOOLS]", "<|eot_id|>", "<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "###",
]  # fmt: skip


def spoken(text: str) -> bool:
    """True if a control token stands in the text, in any case."""
    return any(token.lower() in text.lower() for token in CONTROL)


def full_width(token: str) -> str:
    return "".join(chr(ord(c) + 0xFEE0) for c in token)


@pytest.mark.parametrize("token", CONTROL)
def test_control_tokens_are_broken_however_they_are_written(token: str) -> None:
    nested = token[:3] + token + token[3:]
    for written in (token, token.upper(), nested, html.escape(token), full_width(token), token.replace("s", "\u200bs")):
        text = prepare(written, f"refund {written} please").text
        assert not spoken(text), written
        assert "refund" in text


def test_neutralising_inserts_spaces_and_deletes_nothing() -> None:
    assert neutralise("<|eot<|eot_id|>_id|>") == "< | eot< | eot_id| >_id| >"
    assert neutralise("###### x") == "# # # # # # x"


@given(
    st.lists(st.sampled_from([*CONTROL, "<", "|", "[", "#", " ", "&lt;", "x", "\u200b", "\uff1c", "\n", "<b>"])),
    st.text(),
)
def test_no_mixture_forms_a_control_token(pieces: list[str], tail: str) -> None:
    text = prepare("", "".join(pieces) + tail).text
    assert not spoken(text)
    assert not spoken(text.lower())
    assert neutralise(text) == text


@given(st.text(), st.text(), st.integers(20, 200))
def test_the_text_is_one_line_within_the_budget(subject: str, body: str, budget: int) -> None:
    text = prepare(subject, body, budget).text
    assert len(text.encode()) <= budget
    assert text == " ".join(text.split())


def test_what_is_kept() -> None:
    assert prepare("Card", "Where  is\tmy\ncard?").text == "Card Where is my card?"
    assert prepare("", "re\u00adfund \u202eevil\u202c ok\x00\x07!").text == "refund evil ok !"
    assert prepare("", "\ud800 lone").text == "lone"
    assert prepare("", " \n\u200b ").text == ""


def test_html_becomes_its_text() -> None:
    body = "<style>p{}</style><p>Caf&eacute; <b>refund</b></p><script>x</script><blockquote>old</blockquote>"
    assert prepare("", body).text == "Café refund"
    assert prepare("", "I paid 3 < 5 and a<b").text == "I paid 3 < 5 and a< b"
    assert prepare("", "<blockquote>only a quote</blockquote>").text == "only a quote"
    assert prepare("", "You &amp; I\n&gt; old\n> old").text == "You & I"


@pytest.mark.parametrize(
    "below",
    [
        "On Mon, 1 Jan 2024 Jo wrote:\n> old",
        "On Mon, 1 Jan 2024 at 10:00, Jo\n<jo@example.org> wrote:\n> old",
        "-----Original Message-----\nold",
        "-- \nJo, old",
        "Sent from my phone\nold",
        "> old\n> old",
    ],
)
def test_quotes_and_signatures_go(below: str) -> None:
    assert prepare("", f"New words.\n{below}").text == "New words."
    assert "old" in prepare("", below).text, "a mail that is nothing but quote stays whole"


def test_long_texts_keep_head_and_tail_and_say_so() -> None:
    long = prepare("Subject", "word " * 12_000 + "the end")
    assert long.cut
    assert long.text.startswith("Subject word")
    tail = prepare("", "a" * (MAX_CHARS - 8) + " the end")
    assert tail.cut
    assert tail.text.endswith(" the end")
    assert len(tail.text) == BUDGET
    assert not prepare("", "short").cut


HOSTILE = {
    "on a": "On a\n",
    "newlines": "\n",
    "opener": "<",
    "nested": "<div>",
    "misnested": "<b id=x><p>",
    "unclosed": "<p ",
    "comments": "<!--",
    "quotes": "> ",
    "spaces": " \t",
    "dashes": "--",
    "entities": "&lt;",
    "wrote": "On wrote:\n",
    "combining": "\u0301\u0327",
}


def seconds(body: str) -> float:
    def once() -> float:
        started = time.thread_time()
        prepare("", body)
        return time.thread_time() - started

    return min(once() for _ in range(9))


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("size", [4_500, 9_000])
def test_time_grows_linearly_on_hostile_texts(name: str, size: int) -> None:
    unit = HOSTILE[name]
    short, long = (seconds((unit * (n // len(unit) + 1))[:n]) for n in (size, 2 * size))
    assert long < 3 * short + 0.002
    assert long < 0.25


@pytest.mark.parametrize(
    "body",
    [
        "Hello,\nSent from my card to my friend but it was declined.\nPlease help",
        "First part\n__\nSecond part",
        "Question one\n--\n" + "\n".join(f"line {n} of question two" for n in range(12)),
    ],
)
def test_a_line_that_only_looks_like_a_signature_cuts_nothing(body: str) -> None:
    assert prepare("", body).text == " ".join(neutralise(" ".join(body.split())).split())


@pytest.mark.parametrize("end", ["--\nAna\nBank of Somewhere", "Sent from my iPhone", "Gesendet von meinem Handy"])
def test_a_signature_at_the_end_is_cut(end: str) -> None:
    assert prepare("", f"My card is lost\n{end}").text == "My card is lost"


def test_any_length_of_text_is_cut_before_it_costs_time() -> None:
    assert seconds("> " * 5_000_000) < 0.25
