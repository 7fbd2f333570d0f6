"""What lives as long as a worker process: llms, the drain, the heartbeat, and a clock that looks for work by itself.

Started and stopped by Celery's signals in `app`.
"""

import os
import socket
import threading
import time
from pathlib import Path

import structlog
from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert

from models.db import make_engine, transaction
from models.errors import ConfigError, TriageError, Unavailable
from models.tables import NOW, Worker, new_id
from service.settings import Loaded
from workers.drain import Drain
from workers.llms import Llms

log = structlog.get_logger()
LOOK_S = 2.0
HEARTBEAT_S = 5.0
FORGET = text("workers.seen_at < now() - interval '1 hour'")
OLD_KEYS = text("""
    DELETE FROM idempotency_keys WHERE created_at < now() - interval '24 hours' AND ctid = ANY(ARRAY(
        SELECT ctid FROM idempotency_keys WHERE created_at < now() - interval '24 hours' LIMIT 1000))""")


class Runtime:
    """One worker process."""

    def __init__(self, loaded: Loaded, sockets: Path):
        url = loaded.settings.database_url
        if url is None:
            raise ConfigError("Set TRIAGE_DATABASE_URL and TRIAGE_REDIS_URL, or run everything at once with triage up.")
        self.id = new_id()
        self.database = make_engine(url.get_secret_value())
        self.llms = Llms(loaded, loaded.config.policy, sockets)
        self.drain = Drain(self.database, self.llms, loaded.config.policy, self.llms.parallel)
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self._look, name="look", daemon=True)
        self.last_beat = 0.0

    def start(self) -> None:
        """Loads the llms and begins to look; an llm that cannot be loaded is tried again at every look."""
        self.llms.load(self.database)
        self.thread.start()

    def work(self) -> None:
        """Drains, if the primary is there to be asked."""
        if self.llms.ready():
            self.drain.run()

    def stop(self) -> None:
        """No further claim."""
        self.drain.stop()
        self.stopped.set()

    def close(self) -> None:
        """Waits for the batch in hand, then lets everything go."""
        self.stop()
        with self.drain.running:
            self.drain.pool.shutdown(wait=False, cancel_futures=True)
        self.thread.join(timeout=1)
        self._forget_me()
        self.llms.close()
        self.database.dispose()

    def _look(self) -> None:
        while not self.stopped.is_set():
            try:
                self.llms.load(self.database)
                self.beat()
                self.work()
            except TriageError as error:
                log.warning("look.failed", error=error.message)
            except Exception as error:
                # Whatever it was, the next look must come: without it a silent Redis would stop everything.
                log.error("look.failed", error=type(error).__name__, exc_info=error)
            self.stopped.wait(LOOK_S)

    def beat(self) -> None:
        """Writes that this worker lives and which llms it has, and clears away what has expired, every few seconds."""
        if time.monotonic() - self.last_beat < HEARTBEAT_S:
            return
        values = {"id": self.id, "host": socket.gethostname(), "pid": os.getpid(), "llms": self.llms.state()}
        seen = {"llms": values["llms"], "seen_at": NOW}
        with transaction(self.database) as session:
            session.execute(insert(Worker).values(values).on_conflict_do_update(index_elements=["id"], set_=seen))
            session.execute(delete(Worker).where(FORGET))
            session.execute(OLD_KEYS)
        self.last_beat = time.monotonic()

    def _forget_me(self) -> None:
        try:
            with transaction(self.database) as session:
                session.execute(delete(Worker).where(Worker.id == self.id))
        except Unavailable:
            log.info("heartbeat.left")
