"""What only the llama.cpp engine promises: no TCP listener, private sockets, exact scores, harmless tickets."""

import os
import stat
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models.llm
from models.errors import EngineDown
from models.llm.card import Card, load_card
from models.llm.prompt import render
from models.llm.text import prepare
from workers.engines import llamacpp
from workers.engines.llamacpp import LlamaCpp

DEMO = Path(models.llm.__file__).parent / "demo"
SPECIAL = {0, 1, 2, 3}


@pytest.fixture(scope="module")
def card() -> Card:
    return load_card(DEMO / "primary.gguf")


@pytest.fixture(scope="module")
def engine(card: Card, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LlamaCpp]:
    engine = LlamaCpp(tmp_path_factory.mktemp("engine"), parallel=2)
    engine.load(card)
    yield engine
    engine.close()


def listeners() -> set[Any]:
    """The ports that this process listens on: other tests' servers may be among them."""
    return {c.laddr for c in psutil.Process().net_connections("inet") if c.status == psutil.CONN_LISTEN}


def test_it_listens_on_a_private_unix_socket_and_on_no_port(card: Card, tmp_path: Path) -> None:
    before = listeners()
    engine = LlamaCpp(tmp_path, parallel=1)
    engine.load(card)
    assert listeners() - before == set()
    sockets = [Path(c.laddr) for c in psutil.Process().net_connections("unix") if str(c.laddr).endswith(".sock")]
    assert sockets
    assert all(stat.S_IMODE(path.parent.stat().st_mode) == 0o700 for path in sockets)
    engine.close()


def test_a_file_that_is_no_gguf_can_be_replaced(card: Card, tmp_path: Path) -> None:
    engine, broken = LlamaCpp(tmp_path / "run", parallel=1), replace(card, path=tmp_path / "broken.gguf")
    broken.path.write_bytes(b"not a gguf")
    with pytest.raises(EngineDown, match=r"broken\.gguf"):
        engine.load(broken)
    broken.path.write_bytes(card.path.read_bytes())
    engine.load(broken)
    engine.close()


def test_a_directory_too_deep_for_a_socket_is_replaced_and_cleaned_up(card: Card, tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    engine = LlamaCpp(deep, parallel=1)
    engine.load(card)
    assert list(deep.iterdir()) == []
    assert engine.tokenize(card.name, "x")[0] == 1
    folder = engine._sockets
    assert len(os.fsencode(next(folder.iterdir()))) <= 107
    engine.close()
    assert not folder.exists()


def test_few_and_many_listed_tokens_give_the_same_scores(
    engine: LlamaCpp, card: Card, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The whole vocabulary in one list is the truth; the short list with its second call must agree."""
    codes, prompt = list(card.codes["intent"].values()), render("card lost in paris", "intent", card.prompt_version)
    short = engine.score(card.name, prompt, codes)
    monkeypatch.setattr(llamacpp, "TOP", 100_000)
    whole = engine.score(card.name, prompt, codes)
    assert short.complete
    assert whole.complete
    assert max(abs(short.logprobs[code] - whole.logprobs[code]) for code in codes) < 1e-4


def test_waiting_for_a_slot_is_counted_as_such(card: Card, tmp_path: Path) -> None:
    engine = LlamaCpp(tmp_path, parallel=1)
    engine.load(card)
    taken = ExitStack()
    taken.enter_context(engine._loaded[card.name].slots.one())
    threading.Timer(0.2, taken.close).start()
    timings = engine.score(card.name, render("x", "category", "tuned-1"), ["A"]).timings
    assert timings.slot_ms is not None
    assert 190 < timings.slot_ms < timings.call_ms
    engine.close()


HOSTILE = [
    "<s>",
    "</s>",
    "<unk>",
    "<pad>",
    "<|eot_id|>",
    "[INST]",
    "###",
    "category:",
    "ticket",
    "\n",
    "&lt;s&gt;",
    "\uff1cs\uff1e",
]


@settings(max_examples=150)
@given(st.lists(st.one_of(st.sampled_from(HOSTILE), st.text(max_size=8)), max_size=12))
def test_a_ticket_makes_no_special_token_and_moves_no_other(engine: LlamaCpp, card: Card, pieces: list[str]) -> None:
    """Read by the llm's own tokenizer: begin token, header, ticket, question; only the ticket's part may differ."""
    text = prepare("", "".join(pieces)).text
    header, question = engine.tokenize(card.name, "ticket\n"), engine.tokenize(card.name, "\n### category:")[1:]
    ids = engine.tokenize(card.name, render(text, "category", card.prompt_version))
    ticket = ids[len(header) : len(ids) - len(question)]
    if text:
        assert ids == header + ticket + question
        assert not SPECIAL & set(ticket)
        assert not {id_ for llm in engine._loaded.values() for own in llm.ids.values() for id_ in own} & set(ticket)


def test_an_unguarded_control_token_would_be_special(engine: LlamaCpp, card: Card) -> None:
    """Else the test above could not fail."""
    assert SPECIAL & set(engine.tokenize(card.name, "ticket\na <s> b")[1:])


def test_a_second_question_finds_its_ticket_read_however_many_tickets_are_asked_about(
    engine: LlamaCpp, card: Card
) -> None:
    """As many threads as slots, as in a worker; the server alone would give one ticket's slot to another's question."""

    def left(number: int) -> int:
        """Tokens of the second question that had to be read."""
        text = f"ticket number {number} asks for a card, and for nothing else that anybody could think of"
        for field in ("category", "intent"):
            found = engine.score(card.name, render(text, field, card.prompt_version), codes).timings
        return (found.prompt_tokens or 0) - (found.cached_tokens or 0)

    codes = list(card.codes["category"].values())
    with ThreadPoolExecutor(engine.parallel) as pool:
        assert max(pool.map(left, range(100))) < 8
