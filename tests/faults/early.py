"""`triage worker` that is told to stop as soon as it holds a ticket, which here is before Celery listens to signals.

And told again and again, as when `up` and the system both stop it.
"""

import os
import signal
import subprocess
import time
from typing import Any

import psycopg
from celery.signals import celeryd_after_setup

from models.db import conninfo
from service.cli import main

HELD = "SELECT EXISTS (SELECT FROM tickets WHERE status = 'working')"


@celeryd_after_setup.connect(weak=False)
def told(**_: Any) -> None:
    with psycopg.connect(conninfo(os.environ["TRIAGE_DATABASE_URL"]), autocommit=True) as connection:
        while connection.execute(HELD).fetchone() == (False,):
            time.sleep(0.01)
    again = f"sleep 0.02; while kill -TERM {os.getpid()}; do sleep 0.01; done"
    subprocess.Popen(["sh", "-c", again], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    main()
