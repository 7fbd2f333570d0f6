"""One child process: bound to our life, with a log that stays small, stopped in steps.

Used by servers.py and supervisor.py.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import psutil

LAUNCH = str(Path(__file__).with_name("launch.py"))
LOG_LIMIT = 10 * 2**20
POLL_SECONDS = 0.02

Steps = tuple[tuple[signal.Signals, float], ...]


def never() -> bool:
    return False


@dataclass
class Child:
    """A program in its own session, so that a Ctrl-C in our terminal reaches only us.

    `calm` and `hard` are the signals to stop it with, each with the seconds to wait. The kernel sends the first calm
    one when the thread that called `start` dies, so `start` belongs in the main thread.
    """

    name: str
    argv: list[str]
    calm: Steps
    hard: Steps = ((signal.SIGKILL, 10.0),)
    env: Mapping[str, str] | None = None
    cwd: Path | None = None
    log: Path | None = None
    process: subprocess.Popen[bytes] | None = field(default=None, init=False)
    started_at: float = field(default=0.0, init=False)
    log_start: int = field(default=0, init=False)

    def start(self) -> None:
        """Starts the program; without a log it writes to our own output."""
        output = self._open_log()
        try:
            self.process = subprocess.Popen(  # noqa: S603  the command is ours and no shell reads it
                bound(self.argv, self.calm[0][0]),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self.env,
                cwd=self.cwd,
                start_new_session=True,
            )
        finally:
            if output:
                output.close()
        self.started_at = time.monotonic()

    def _open_log(self) -> BinaryIO | None:
        if self.log is None:
            return None
        self.trim_log()
        output = self.log.open("ab")
        self.log_start = output.tell()
        return output

    def trim_log(self) -> None:
        """Keeps one older part of a log that has grown; its writer appends, so it goes on at the new end."""
        if self.log and self.log.exists() and self.log.stat().st_size > LOG_LIMIT:
            with contextlib.suppress(OSError):  # on a full disk there is no room for two
                shutil.copyfile(self.log, self.log.with_suffix(".old.log"))
            os.truncate(self.log, 0)
            self.log_start = 0

    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self, hurried: Callable[[], bool] = never) -> None:
        """Asks with the calm signals, then forces with the hard ones; `hurried` turning true ends the patience."""
        for number, seconds in () if hurried() else self.calm:
            self._send(number)
            self._wait(seconds, hurried)
        for number, seconds in self.hard:
            self._send(number)
            self._wait(seconds, never)

    def _send(self, number: signal.Signals) -> None:
        if not self.running() or self.process is None:
            return
        if number is signal.SIGKILL:
            # Its own children (it leads a group) cannot be asked any more, so they go with it.
            os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)

    def _wait(self, seconds: float, hurried: Callable[[], bool]) -> None:
        deadline = time.monotonic() + seconds
        while self.running() and time.monotonic() < deadline and not hurried():
            time.sleep(POLL_SECONDS)

    def ending(self) -> str:
        """How it has ended, for a sentence to the user. What was killed outright had no time to log why."""
        code = self.process.returncode if self.process else None
        how = f"signal {signal.Signals(-code).name}" if code and code < 0 else f"exit code {code}"
        if self.log is None:
            return how
        why = "" if code == -signal.SIGKILL else f": {self.last_words()}"
        return f"{how}{why}; its log is {self.log}"

    def last_words(self) -> str:
        """The most telling line that the program has logged since its start."""
        if self.log is None or not self.log.exists():
            return "it left no log"
        with self.log.open("rb") as log:
            log.seek(max(self.log_start, self.log.stat().st_size - 16_384))
            lines = [line.strip() for line in log.read().decode(errors="replace").splitlines() if line.strip()]
        telling = [line.partition("FATAL:")[2].strip() for line in lines if "FATAL:" in line] or lines
        return telling[-1][:300] if telling else "it wrote nothing to its log"


def bound(argv: list[str], death_signal: signal.Signals) -> list[str]:
    """The same command, bound to the life of the calling process."""
    return [sys.executable, "-IS", LAUNCH, str(int(death_signal)), str(os.getpid()), *argv]


def leftovers(folder: Path, names: frozenset[str]) -> list[psutil.Process]:
    """Programs of these names that work in this very folder; a number from a stale pid file is never believed."""
    return [process for process in psutil.process_iter() if _works_in(process, folder, names)]


def _works_in(process: psutil.Process, folder: Path, names: frozenset[str]) -> bool:
    with contextlib.suppress(psutil.Error, OSError):
        return process.name() in names and os.path.samefile(process.cwd(), folder)
    return False


def nothing() -> None:
    """For whoever has nothing else to look after."""


def stop_leftovers(folder: Path, names: frozenset[str], steps: Steps, meanwhile: Callable[[], None] = nothing) -> bool:
    """Stops what has been left running in the folder; true when nothing is left. Calls `meanwhile` while it waits."""
    for number, seconds in steps:
        found = leftovers(folder, names)
        for process in [one for one in found if _parent(one) not in found]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        deadline = time.monotonic() + seconds
        while any(_works_in(one, folder, names) for one in found) and time.monotonic() < deadline:
            meanwhile()
            time.sleep(POLL_SECONDS)
    return not leftovers(folder, names)


def _parent(process: psutil.Process) -> psutil.Process | None:
    """Postgres's own children must hear from Postgres, not from us, so a child of a leftover is left to it."""
    with contextlib.suppress(psutil.Error):
        return process.parent()
    return None
