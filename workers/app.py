"""The worker process: Celery receives the bell, the runtime does the work. Started by `triage worker`."""

import logging
import shutil
import signal
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any, NoReturn

from celery import signals
from celery.exceptions import SecurityWarning

from service.garbage import when_loaded
from service.queue import QUEUE, celery_app
from service.settings import Loaded
from workers.losses import CONSUMER, Losses
from workers.runtime import Runtime
from workers.tasks import register

ARGUMENTS = (
    "--quiet",
    "worker",
    "--loglevel=WARNING",
    "--pool=threads",
    "--concurrency=2",
    f"--queues={QUEUE}",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
)


def run(loaded: Loaded) -> None:
    """Works until SIGTERM or SIGINT: no further claim, ten seconds for what is begun, the rest is given back."""
    app = celery_app(loaded.settings.urls()[1])
    app.conf.update(
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        # Only what is acknowledged late, which nothing is; without a choice Celery warns at each loss.
        worker_cancel_long_running_tasks_on_connection_loss=True,
    )
    sockets = Path(tempfile.mkdtemp(prefix="triage-llm-"))
    runtime = Runtime(loaded, sockets)
    register(app, runtime)
    _connect(runtime)
    losses = Losses(loaded.settings.urls()[1])
    logging.getLogger(CONSUMER).addFilter(losses)
    when_loaded()
    signal.signal(signal.SIGTERM, _end)
    try:
        app.worker_main(list(ARGUMENTS))
    finally:
        logging.getLogger(CONSUMER).removeFilter(losses)
        runtime.close()
        shutil.rmtree(sockets, ignore_errors=True)


def _end(*_: object) -> NoReturn:
    """A SIGTERM in the moments before Celery listens to it: what the runtime has begun by then is given back too."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one would end the giving back
    sys.exit(0)


def _connect(runtime: Runtime) -> None:
    # Celery warns everyone who is root, because of pickle; here messages are JSON and carry nothing.
    warnings.filterwarnings("ignore", category=SecurityWarning)

    @signals.setup_logging.connect(weak=False)  # type: ignore[untyped-decorator]
    def leave_logging_as_it_is(**_: Any) -> None:
        """Celery configures logging unless somebody answers this signal."""

    @signals.worker_init.connect(weak=False)  # type: ignore[untyped-decorator]  # celery has no types
    def start(**_: Any) -> None:
        runtime.start()

    @signals.worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
    def stop(**_: Any) -> None:
        runtime.stop()
