"""Loads a port for one window: by wrk where there is one, else, and for every open loop, by generator.py.

Called by intake.py.
"""

import resource
import secrets
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import orjson

from benchmarks.generator import BODY
from models.errors import TriageError
from service.children import bound

CLIENTS = 32
OWN = [sys.executable, "-m", "benchmarks.generator"]
SCRIPT = Path(__file__).with_name("wrk.lua")
PATIENCE_S = 120.0


def generator() -> str:
    """What posts, for the record."""
    return "wrk; own (asyncio) in open loops" if shutil.which("wrk") else "own (asyncio)"


def closed(port: int, key: str, seconds: float) -> dict[str, Any]:
    """Every client posts again as soon as it is answered. wrk knows whole seconds only."""
    if shutil.which("wrk") and seconds >= 1:
        return _wrk(port, key, round(seconds))
    return _own(port, key, seconds, None)


def open_loop(port: int, key: str, seconds: float, rate: float) -> dict[str, Any]:
    """`rate` posts a second, whatever is answered; latencies count from the time each was due."""
    return _own(port, key, seconds, rate)


def _own(port: int, key: str, seconds: float, rate: float | None) -> dict[str, Any]:
    job = {"port": port, "key": key, "seconds": seconds, "rate": rate, "clients": CLIENTS}
    found: dict[str, Any] = orjson.loads(_run(OWN, seconds, orjson.dumps(job)))
    return found | {"unread": 0}


def _wrk(port: int, key: str, seconds: int) -> dict[str, Any]:
    command = ["wrk", "-t1", f"-c{CLIENTS}", f"-d{seconds}s", "-s", str(SCRIPT), f"http://127.0.0.1:{port}/v1/tickets"]
    cpu, wall = _cpu_of_children(), time.perf_counter()
    printed = _run([*command, "--", secrets.token_hex(4), key, BODY], seconds)
    share = (_cpu_of_children() - cpu) / (time.perf_counter() - wall)
    found: dict[str, Any] = orjson.loads(printed.partition(b"RESULT ")[2])
    # It leaves while the last post of each client is on its way.
    return found | {"cpu_share": share, "unread": CLIENTS}


def _cpu_of_children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def _run(command: list[str], seconds: float, job: bytes = b"") -> bytes:
    """In a session of its own, so that a Ctrl-C reaches only us, and bound to our life."""
    done = subprocess.run(  # noqa: S603 (the command is ours and no shell reads it)
        bound(command, signal.SIGKILL),
        input=job,
        capture_output=True,
        check=False,
        start_new_session=True,
        timeout=seconds + PATIENCE_S,
    )
    if done.returncode != 0:
        words = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise TriageError(f"The load generator failed: {words[-1]}")
    return done.stdout
