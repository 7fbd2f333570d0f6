"""The worker process: Celery receives the bell, the runtime does the work. Started by `triage worker`."""

import shutil
import tempfile
from pathlib import Path
from typing import Any

from celery import signals

from models.errors import ConfigError
from service.queue import QUEUE, celery_app
from service.settings import Loaded
from workers.runtime import Runtime
from workers.tasks import register

ARGUMENTS = (
    "worker",
    "--pool=threads",
    "--concurrency=2",
    f"--queues={QUEUE}",
    "--without-gossip",
    "--without-mingle",
    "--without-heartbeat",
)


def run(loaded: Loaded) -> None:
    """Works until SIGTERM or SIGINT: no further claim, ten seconds for what is begun, the rest is given back."""
    redis = loaded.settings.redis_url
    if redis is None:
        raise ConfigError("Set TRIAGE_DATABASE_URL and TRIAGE_REDIS_URL, or run everything at once with triage up.")
    app = celery_app(redis.get_secret_value())
    app.conf.update(worker_prefetch_multiplier=1, worker_hijack_root_logger=False, worker_redirect_stdouts=False)
    sockets = Path(tempfile.mkdtemp(prefix="triage-llm-"))
    runtime = Runtime(loaded, sockets)
    register(app, runtime)
    _connect(runtime)
    try:
        app.worker_main([*ARGUMENTS, f"--loglevel={loaded.settings.log_level}"])
    finally:
        runtime.close()
        shutil.rmtree(sockets, ignore_errors=True)


def _connect(runtime: Runtime) -> None:
    @signals.worker_init.connect(weak=False)  # type: ignore[untyped-decorator]  # celery has no types
    def start(**_: Any) -> None:
        runtime.start()

    @signals.worker_shutting_down.connect(weak=False)  # type: ignore[untyped-decorator]
    def stop(**_: Any) -> None:
        runtime.stop()
