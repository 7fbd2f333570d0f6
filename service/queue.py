"""Telling workers that work is due. The row is the truth; this is only the bell, so losing one loses nothing.

Used by the API after a commit. Nothing here runs on a request: one thread rings, at most every 100 ms.
"""

import threading
from enum import StrEnum

import structlog
from celery import Celery
from kombu.exceptions import OperationalError
from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from service.outage import Outage

log = structlog.get_logger()
QUEUE = "triage"
INTERVAL_S = 0.1
ENOUGH = 4  # unread bells in the queue after which another one tells nobody anything
TIMEOUT_S = 2.0
SOCKET = {"socket_timeout": TIMEOUT_S, "socket_connect_timeout": TIMEOUT_S}


def connect(redis_url: str) -> Redis:
    """A client that gives up after its timeout; the library's own retries would sleep for seconds more."""
    return Redis.from_url(redis_url, retry=Retry(NoBackoff(), 0), **SOCKET)


class TaskName(StrEnum):
    """Every task an API process may ask for by name; `workers/tasks.py` has one function for each."""

    CLASSIFY_DUE = "classify.due"


def broker_url(redis_url: str) -> str:
    """The same Redis in the form that Celery reads: a unix socket has a scheme of its own there."""
    return redis_url.replace("unix://", "redis+socket://", 1)


def celery_app(redis_url: str) -> Celery:
    """A Celery application that publishes JSON, keeps no results, and never waits long for Redis."""
    app = Celery("triage", broker=broker_url(redis_url), set_as_current=False)
    app.conf.update(
        task_default_queue=QUEUE,
        task_ignore_result=True,
        task_serializer="json",
        accept_content=["json"],
        # A bell is taken once and for all. With receipts, a worker whose receipt was lost with Redis would end itself:
        # Celery puts what has none back when it closes the broken connection, and fails at that.
        broker_transport_options={**SOCKET, "ack_emulation": False},
        broker_connection_timeout=2.0,
        broker_connection_max_retries=None,
        broker_connection_retry_on_startup=True,
        broker_channel_error_retry=True,  # a Redis that refuses, after a failover or when full, is one that is away
    )
    return app


class Bell:
    """Rings for work from a thread of its own; `ring()` only sets a flag and never blocks or raises."""

    def __init__(self, redis_url: str):
        self.app = celery_app(redis_url)
        self.redis = connect(redis_url)
        self.outage = Outage()
        self.wanted = threading.Event()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._run, name="bell", daemon=True)

    def start(self) -> None:
        self.thread.start()

    def ring(self) -> None:
        self.wanted.set()

    def stop(self) -> None:
        """Ends the thread after a last ring; waits no longer than a frozen Redis can hold one."""
        self.stopped.set()
        self.wanted.set()
        self.thread.join(timeout=3 * TIMEOUT_S)
        self.redis.close()
        self.app.close()

    def _run(self) -> None:
        while not self.stopped.is_set():
            self.wanted.wait()
            self.wanted.clear()
            self._publish()
            self.stopped.wait(INTERVAL_S)
        if self.wanted.is_set():
            self._publish()

    def _publish(self) -> None:
        try:
            if self.redis.llen(QUEUE) >= ENOUGH:
                return  # which says nothing of whether another one would be taken
            self.app.send_task(TaskName.CLASSIFY_DUE, queue=QUEUE, retry=False)
        except (RedisError, OperationalError, OSError) as error:
            # Workers look by themselves every few seconds, so the ticket is only later, not lost.
            if self.outage.lasts():
                log.warning("redis.away", error=type(error).__name__)
        else:
            if self.outage.over():
                log.info("redis.back")
