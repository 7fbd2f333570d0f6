"""What only the llama.cpp engine promises: no TCP listener, private sockets, exact scores, harmless tickets."""

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import models.llm
from models.errors import EngineDown, EngineError
from models.llm.card import Card, load_card
from models.llm.prompt import render
from models.llm.text import prepare
from workers.engines import llamacpp
from workers.engines.llamacpp import LlamaCpp
from workers.engines.slots import Slots

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


def wait_until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)


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
    begun, over = threading.Event(), threading.Event()

    def hold(_: int) -> None:
        begun.set()
        over.wait()

    with ThreadPoolExecutor(1) as pool:
        pool.submit(engine._loaded[card.name].slots.ask, hold, 60)
        assert begun.wait(30)
        threading.Timer(0.2, over.set).start()
        timings = engine.score(card.name, render("x", "category", "tuned-1"), ["A"]).timings
    assert timings.slot_ms is not None
    assert 0 < timings.slot_ms < timings.call_ms
    engine.close()


LONG = "where is my card and why was i charged twice for it " * 40


def test_a_call_given_up_in_the_middle_of_its_reading_changes_no_later_answer(card: Card, tmp_path: Path) -> None:
    codes, prompt = list(card.codes["category"].values()), render("top up failed", "category", card.prompt_version)
    undisturbed = LlamaCpp(tmp_path / "one", parallel=1)
    undisturbed.load(card)
    engine = LlamaCpp(tmp_path / "other", parallel=1)
    engine.load(card)

    def given_up(number: int) -> bool:
        """Reading takes many times the deadline, but a busy machine may look at the answer too late to miss it."""
        engine._deadline_s = 0.001
        try:
            engine.score(card.name, render(f"{number} {LONG}", "category", card.prompt_version), codes)
        except EngineError as error:
            return "did not answer in time" in error.message
        return False

    assert any(given_up(number) for number in range(100))
    engine._deadline_s = 60.0
    wait_until(lambda: engine.open_breaker(card.name) is None)
    found, expected = (one.score(card.name, prompt, codes).logprobs for one in (engine, undisturbed))
    # Not equal to the last bit: llama.cpp rounds differently where a part of the prompt was read before.
    assert found == pytest.approx(expected, abs=1e-5)
    engine.close()
    undisturbed.close()


def test_calls_that_hang_cost_no_thread_that_asks_and_are_seen(card: Card, tmp_path: Path) -> None:
    """Each slot is tried once; then nobody waits, until one of the calls ends after all."""
    engine = LlamaCpp(tmp_path, parallel=2, deadline_s=0.05)
    engine.load(card)
    slots, over = engine._loaded[card.name].slots, threading.Event()
    for _ in range(2):
        with pytest.raises(EngineError, match="did not answer in time"):
            slots.ask(lambda _: over.wait(), 0.05)
    assert "restart the worker" in (engine.open_breaker(card.name) or "")
    with pytest.raises(EngineDown, match="restart the worker"):
        slots.ask(lambda _: pytest.fail("no slot is free"), 3600)
    over.set()
    wait_until(lambda: engine.open_breaker(card.name) is None)
    assert slots.ask(lambda slot: slot, 60)[0] in (0, 1)
    engine.close()


HANGS = """
import sys, threading
from pathlib import Path
from models.errors import EngineError
from models.llm.card import load_card
from workers.engines.llamacpp import LlamaCpp
from workers.engines.slots import Slots
card = load_card(Path(sys.argv[1]))
engine = LlamaCpp(Path(sys.argv[2]), parallel=1)
engine.load(card)
ready = engine._loaded[card.name]
try:
    ready.slots.ask(lambda _: (ready.server, threading.Event().wait()), 0.05)
except EngineError:
    del ready
    engine.close()
    print("closed")
"""


def test_a_call_that_never_ends_does_not_keep_the_process_from_ending(card: Card, tmp_path: Path) -> None:
    command = [sys.executable, "-W", "error", "-c", HANGS, str(card.path), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.returncode) == ("closed\n", 0), done.stderr


def test_threads_of_slots_end_with_their_weights() -> None:
    """A llm that is replaced every day must not leave threads behind."""
    slots = Slots(2)
    slots.every(lambda _: None, 60)
    threads = [thread for thread in threading.enumerate() if thread.name.startswith("llama-slot")]
    mine = [thread for thread in threads if thread._args[1] in slots._lines]  # type: ignore[attr-defined]
    del slots
    for thread in mine:
        thread.join(30)
    assert [thread.is_alive() for thread in mine] == [False, False]


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
