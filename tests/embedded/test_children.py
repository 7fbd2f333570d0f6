"""One child process: its log, its last words, and who goes with it."""

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from service.children import Child

CALM = ((signal.SIGTERM, 10.0),)


def child(code: str, log: Path | None = None) -> Child:
    return Child("child", [sys.executable, "-c", code], CALM, log=log)


def wait_until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_a_log_stays_small_while_its_writer_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("service.children.LOG_LIMIT", 1000)
    log = tmp_path / "some.log"
    writer = child("import time\nwhile True: print('x' * 99, flush=True); time.sleep(.002)", log)
    writer.start()
    for _ in range(3):
        wait_until(lambda: log.stat().st_size > 1000)
        writer.trim_log()
    wait_until(lambda: log.stat().st_size > 0)
    writer.stop()
    assert log.read_bytes()[:1] == b"x"
    assert (tmp_path / "some.old.log").stat().st_size > 1000


def test_its_ending_is_told_in_its_last_words_of_this_start(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    for word, words in (("first", "exit code 1: first"), ("", "exit code 1: it wrote nothing to its log")):
        one = child(f"raise SystemExit({word or 1!r})", log)
        one.start()
        wait_until(lambda one=one: not one.running())  # type: ignore[misc]
        assert one.ending() == f"{words}; its log is {log}"


def test_the_last_line_of_a_killed_child_is_not_told_as_the_reason(tmp_path: Path) -> None:
    log = tmp_path / "some.log"
    one = child("import time; print('WARNING: something else', flush=True); time.sleep(60)", log)
    one.start()
    wait_until(lambda: log.stat().st_size > 0)
    assert one.process is not None
    one.process.kill()
    wait_until(lambda: not one.running())
    assert one.ending() == f"signal SIGKILL; its log is {log}"


def test_a_log_that_finds_no_room_for_its_older_part_is_cut_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("service.children.LOG_LIMIT", 10)
    monkeypatch.setattr("service.children.shutil.copyfile", full)
    log = tmp_path / "some.log"
    log.write_text("much has been said")
    child("pass", log).trim_log()
    assert log.read_text() == ""


def test_a_killed_child_takes_its_own_children_along() -> None:
    parent = child("import subprocess; subprocess.run(['sleep', '60'])")
    parent.start()
    assert parent.process is not None
    process = psutil.Process(parent.process.pid)
    wait_until(lambda: any(one.name() == "sleep" for one in process.children()))
    (grandchild,) = process.children()
    parent.stop(hurried=lambda: True)
    wait_until(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE)


def test_stopping_what_never_started_is_no_error() -> None:
    child("pass").stop()
