"""What lives as long as a worker process: llms, the drain, the heartbeat, and a clock that looks for work by itself.

Started and stopped by Celery's signals in `app`.
"""

import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import structlog
from sqlalchemy import delete, text
from sqlalchemy.dialects.postgresql import insert

from models import taxonomy
from models.db import make_engine, transaction
from models.errors import TriageError, Unavailable
from models.tables import KEY_LIFE, NOW, Worker, new_id
from service.outage import Outage
from service.settings import Loaded
from workers.drain import Drain
from workers.llms import Llms
from workers.pins import row_id
from workers.sweep import SWEEP_S

log = structlog.get_logger()
LOOK_S = 2.0
HEARTBEAT_S = 5.0
LEAVE_S = 5.0  # how long a stop waits for a loading; one that takes longer ends with the process
FORGET = text("workers.seen_at < now() - interval '1 hour'")
OLD_KEYS = text(f"""
    WITH gone AS (DELETE FROM idempotency_keys WHERE created_at < now() - interval '{KEY_LIFE}' AND ctid = ANY(ARRAY(
        SELECT ctid FROM idempotency_keys WHERE created_at < now() - interval '{KEY_LIFE}'
        ORDER BY created_at LIMIT :most FOR UPDATE SKIP LOCKED)) RETURNING 1)
    SELECT count(*) FROM gone""")  # noqa: S608 (only our own words)
KEYS = 1000  # in one transaction, for whoever sends one of them again waits for it
KEYS_S = 1.0  # of a heartbeat; what is left then goes with the next one


class Runtime:
    """One worker process."""

    def __init__(self, loaded: Loaded, sockets: Path):
        self.id = new_id()
        self.database = make_engine(loaded.settings.urls()[0])
        self.llms = Llms(loaded, loaded.config.asked, sockets)
        self.drain = Drain(self.database, self.llms, loaded.config, self.llms.parallel)
        self.stopped = threading.Event()
        self.all_ready = False
        # A count must not be overwritten by an older one: it would look like a new start.
        self.beating = threading.Lock()
        self.loading = threading.Lock()
        self.outages: defaultdict[str, Outage] = defaultdict(Outage)
        # A thread each, because a look may drain for hours, and a worker that works must not seem dead.
        often = ((self.look, LOOK_S), (self.look_beside, LOOK_S), (self.beat, HEARTBEAT_S), (self.drain.sweep, SWEEP_S))
        self.threads = [
            threading.Thread(target=self._again, args=(what, pause), name=what.__name__, daemon=True)
            for what, pause in often
        ]

    def start(self) -> None:
        """Begins to beat, to load the llms and to look for work; what cannot be loaded is tried again at every look."""
        for thread in self.threads:
            thread.start()

    def work(self) -> None:
        """Drains, if there is an llm to be asked; else only ends what one was asked before."""
        if self.llms.ready():
            self.drain.run()
        else:
            self.drain.settle_slow()

    def stop(self) -> None:
        """No further claim."""
        self.drain.stop()
        self.stopped.set()

    def close(self) -> None:
        """Waits for the batch in hand, then lets everything go."""
        self.stop()
        with self.drain.running:
            self.drain.close()
        for thread in self.threads:
            if thread.is_alive():
                thread.join(timeout=1)
        self._forget_me()
        if self.loading.acquire(timeout=LEAVE_S):  # and kept, so that nothing is loaded any more
            self.llms.close()
        self.database.dispose()

    def attempt(self, what: Callable[[], None]) -> None:
        """Does it; if it fails, the log has the place and the kind, not what a library says: that may repeat a text."""
        try:
            what()
        except TriageError as error:
            if self.outages[what.__name__].lasts():
                log.warning("failed", what=what.__name__, error=error.message)
        except Exception as error:
            # Whatever it was, the next time must come: without it a silent Redis would stop everything.
            kind = type(error).__name__
            if self.outages[f"{what.__name__} {kind}"].lasts():
                log.error("failed", what=what.__name__, error=kind, exc_info=error)
        else:
            self._works(what.__name__)

    def _works(self, what: str) -> None:
        over = [outage.over() for name, outage in list(self.outages.items()) if name.split()[0] == what]
        if any(over):
            log.info("works.again", what=what)

    def _again(self, what: Callable[[], None], pause_s: float) -> None:
        while not self.stopped.is_set():
            self.attempt(what)
            self.stopped.wait(pause_s)

    def look(self) -> None:
        """Loads what is not loaded yet, and works if anything is due: what makes Redis dispensable."""
        self.load()
        self.work()

    def look_beside(self) -> None:
        """What an engine loses is not to wait for a backlog's end, nor what is due for the end of a long loading."""
        if self.drain.running.locked():
            self.load()
        elif self.loading.locked():
            self.work()

    def load(self) -> None:
        """Loads what is not loaded yet, or no longer; nothing if another thread is at it."""
        if not self.loading.acquire(blocking=False):
            return
        try:
            self._read_spend()
            ready = self.llms.load(self._taxonomy())
        finally:
            self.loading.release()
        if ready != self.all_ready and not self.stopped.is_set():  # a worker that has said goodbye beats no more
            self.all_ready = ready
            self.beat()

    def beat(self) -> None:
        """Writes that this worker lives, how its llms are and what it has counted; clears away what has expired."""
        with self.beating, transaction(self.database) as session:
            for pin in self.llms.pins():
                row_id(session, pin)
            self.llms.read_spend(session)
            state = self.llms.state(taxonomy.active(session)[1])
            told = {"llms": state, "figures": self.llms.figures.dump()}
            values = {"id": self.id, "host": socket.gethostname(), "pid": os.getpid(), **told}
            seen = {**told, "seen_at": NOW}
            session.execute(insert(Worker).values(values).on_conflict_do_update(index_elements=["id"], set_=seen))
            session.execute(delete(Worker).where(FORGET))
        self._forget_keys()

    def _taxonomy(self) -> taxonomy.Taxonomy | None:
        """The one in force, where an llm has to be told: the others load without Postgres."""
        if not self.llms.untrained:
            return None
        with transaction(self.database) as session:
            return taxonomy.active(session)[1]

    def _read_spend(self) -> None:
        """Before the first ticket: what was spent earlier today counts too."""
        if self.llms.spends:
            with transaction(self.database) as session:
                self.llms.read_spend(session)

    def _forget_keys(self) -> None:
        """As many of the old keys as there is time for."""
        ends = time.monotonic() + KEYS_S
        while True:
            with transaction(self.database) as session:
                gone: int = session.execute(OLD_KEYS, {"most": KEYS}).scalar_one()
            if gone < KEYS or time.monotonic() >= ends:
                return

    def _forget_me(self) -> None:
        try:
            with transaction(self.database) as session:
                session.execute(delete(Worker).where(Worker.id == self.id))
        except Unavailable:
            log.info("heartbeat.left")
