"""Celery says at every try that Redis is away: several lines a second. This says it seldom. Used by `app`."""

import logging
import threading
import time

import structlog
from redis import Redis, RedisError

from service.logs import LOSSES
from service.outage import Outage
from service.queue import connect

log = structlog.get_logger()
CONSUMER = "celery.worker.consumer.consumer"
LOOK_S = 2.0
NOTHING = "triage:nothing"


class Losses(logging.Filter):
    """Takes the lines of a lost Redis out of Celery's log, and asks by itself whether it is back."""

    def __init__(self, redis_url: str):
        super().__init__()
        self.redis_url = redis_url
        self.outage = Outage()
        self.watching = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        args = record.args if isinstance(record.args, tuple) else ()
        error = next((one for one in args if isinstance(one, LOSSES)), None)
        if error is None:
            return True
        if self.outage.lasts():
            log.warning("redis.away", error=type(error).__name__)
        if self.watching.acquire(blocking=False):
            threading.Thread(target=self._watch, name="redis", daemon=True).start()
        return False

    def _watch(self) -> None:
        try:
            with connect(self.redis_url) as redis:
                while not _writes(redis):
                    time.sleep(LOOK_S)
            if self.outage.over():
                log.info("redis.back")
        finally:
            self.watching.release()


def _writes(redis: Redis) -> bool:
    """A Redis that only reads is away: a bell cannot be taken from it."""
    try:
        redis.delete(NOTHING)
    except (RedisError, OSError):
        return False
    return True
