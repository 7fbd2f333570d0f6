"""Stands in for the API and the worker: notes when it starts, is asked to stop and has stopped, in FOLDER/NAME.

With `stubborn` it ignores SIGTERM; with `slow` it takes a moment to stop, and looks whether the servers still answer.
"""

import os
import signal
import sys
import time
from pathlib import Path
from types import FrameType

import psycopg
import redis

name, folder, manner = sys.argv[1], Path(sys.argv[2]), sys.argv[3]


def note(what: str) -> None:
    with (folder / name).open("a") as notes:
        notes.write(f"{what} {time.time()}\n")


def stop(number: int, frame: FrameType | None) -> None:
    note("asked")
    if manner == "stubborn":
        return
    if manner == "slow":
        time.sleep(0.3)
        psycopg.connect(os.environ["TRIAGE_DATABASE_URL"].replace("+psycopg", "")).close()
        redis.Redis.from_url(os.environ["TRIAGE_REDIS_URL"]).ping()
    note("stopped")
    sys.exit(0)


signal.signal(signal.SIGTERM, stop)
note("started")
while True:
    signal.pause()
