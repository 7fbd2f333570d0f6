"""Loading and draining do not wait for each other, one thread loads at a time, and no stop waits for a long loading."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from processes import eventually
from standin import Standin
from standin_http import Left

from service.settings import Loaded
from workers.llm import Llm
from workers.runtime import Runtime

DEADLINE_S = 60.0


@pytest.fixture
def worker(one_in_ollama: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runtime]:
    """One that looks often, and has loaded nothing yet."""
    monkeypatch.setattr("workers.runtime.LOOK_S", 0.05)
    monkeypatch.setattr("workers.runtime.LEAVE_S", DEADLINE_S)
    runtime = Runtime(one_in_ollama, tmp_path)
    yield runtime
    runtime.close()


def loads(standin: Standin) -> int:
    return standin.requests.count({"model": "triage-primary"})


def test_what_ollama_has_lost_comes_back_while_a_backlog_is_drained(
    worker: Runtime, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    draining, over = threading.Event(), threading.Event()

    def backlog() -> None:
        draining.set()
        over.wait(2 * DEADLINE_S)

    monkeypatch.setattr(worker.drain, "_work", backlog)
    worker.start()
    try:
        assert draining.wait(DEADLINE_S)
        standin.load_s = 0.2
        standin.unload("triage-primary")
        eventually(lambda: standin.resident, DEADLINE_S, "nobody has it loaded")
        eventually(worker.llms.ready, DEADLINE_S, "it is not asked again")
        assert worker.drain.running.locked(), "the backlog is not over"
    finally:
        over.set()


def test_what_is_due_does_not_wait_for_an_llm_that_loads_long_while_another_is_ready(
    worker: Runtime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No bell rings for what was given back, nor for anything without Redis."""
    drained, over = threading.Event(), threading.Event()

    def loads_long(_: object) -> bool:
        over.wait(2 * DEADLINE_S)
        return False

    worker.load()
    monkeypatch.setattr(worker.llms, "load", loads_long)
    monkeypatch.setattr(worker.drain, "_work", drained.set)
    worker.start()
    try:
        assert drained.wait(DEADLINE_S), "nobody looks for work"
        assert worker.loading.locked(), "the loading is over"
    finally:
        over.set()


def test_nothing_is_claimed_before_each_llm_was_loaded_once(worker: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else what comes in a worker's first seconds would be decided without the fallback, that is about to be there."""
    begun, over = threading.Event(), threading.Event()

    def loads_long(llm: Llm, _: object) -> None:
        llm.error = None
        begun.set()
        over.wait(2 * DEADLINE_S)

    monkeypatch.setattr(Llm, "load", loads_long)
    loading = threading.Thread(target=worker.load)
    loading.start()
    try:
        assert begun.wait(DEADLINE_S)
        assert not worker.llms.ready()
    finally:
        over.set()
        loading.join()
    assert worker.llms.ready()


def test_a_mistake_of_ours_keeps_no_other_llm_from_loading(worker: Runtime, monkeypatch: pytest.MonkeyPatch) -> None:
    (primary,) = worker.llms.all.values()

    def broken(*_: object) -> None:
        raise KeyError("what a server said")

    with monkeypatch.context() as patched:
        patched.setattr(Llm, "load", broken)
        assert not worker.llms.load()
    assert primary.error == "It could not be loaded for a reason of ours (KeyError); the log has it."
    assert worker.llms.load()


def test_a_loading_is_one_threads_and_a_stop_does_not_wait_for_it(
    worker: Runtime, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def stays(*_: object) -> None:
        over.wait(DEADLINE_S)
        raise Left

    monkeypatch.setattr("standin_http.Handler.stays", stays)
    worker.start()
    try:
        eventually(lambda: loads(standin), DEADLINE_S, "nobody loads")
        worker.load()
        assert loads(standin) == 1
        monkeypatch.setattr("workers.runtime.LEAVE_S", 0.05)
        worker.close()
        assert worker.loading.locked(), "the stop has waited"
        assert not over.is_set()
    finally:
        monkeypatch.setattr("workers.runtime.LEAVE_S", DEADLINE_S)
        over.set()
        for thread in worker.threads:
            thread.join()
