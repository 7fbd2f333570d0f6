"""The processes of `up` and `demo`: embedded servers, API and worker; started in order, kept alive, stopped in order.

service.cli calls `run` with a Plan and, for the demo, with a job to do while the service is up.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from models.errors import ServerError
from service.children import Child, never
from service.embedded import EmbeddedServers

POLL_SECONDS = 0.1
LONGEST_PAUSE = 30.0
WELL_AFTER = 60.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class Plan:
    """What to run. `migrate` gets the database's URL, `ready` says whether the API answers, `env` goes to the children.

    A server whose URL is given is not started. Without `log_dir` the children write to our own output.
    """

    data_dir: Path
    api: Sequence[str]
    worker: Sequence[str]
    migrate: Callable[[str], None]
    ready: Callable[[], bool]
    env: Mapping[str, str] = field(default_factory=dict)
    database_url: str | None = None
    redis_url: str | None = None
    log_dir: Path | None = None
    cwd: Path | None = None
    ready_seconds: float = 120.0
    stop_seconds: float = 15.0


class Signals:
    """The only place that handles signals: a SIGINT or SIGTERM interrupts our work, one during the stop hurries it."""

    def __init__(self) -> None:
        self.stopping = False
        self.hurry = False

    def __enter__(self) -> "Signals":
        self.before = {number: signal.signal(number, self._received) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _received(self, number: int, frame: FrameType | None) -> None:
        if self.stopping:
            self.hurry = True
        else:
            self.stopping = True
            raise KeyboardInterrupt


@dataclass
class Backoff:
    """Pauses of 1, 2, 4 ... 30 seconds between deaths; a long life in between starts again at 1."""

    pause: float = 0.0
    due: float = 0.0
    scheduled: bool = False

    def schedule(self, now: float) -> float:
        lately = self.pause and now - self.due < WELL_AFTER
        self.pause = min(self.pause * 2, LONGEST_PAUSE) if lately else 1.0
        self.due = now + self.pause
        self.scheduled = True
        return self.pause


class Service:
    """What `run` has started. A job calls `check` now and then, or `watch` until it has had enough."""

    def __init__(self, plan: Plan, say: Say, hurried: Callable[[], bool] = never):
        self.plan = plan
        self.say = say
        self.hurried = hurried
        without = {"postgres": plan.database_url is None, "redis": plan.redis_url is None}
        self.servers = EmbeddedServers(plan.data_dir, say, **without)
        self.servers_backoff = Backoff()
        self.children: dict[str, Child] = {}
        self.backoffs = {"API": Backoff(), "worker": Backoff()}

    def start(self) -> None:
        """Returns when the API is ready; after a failure `stop` is still due."""
        urls = self.servers.start()
        database_url = self.plan.database_url or urls.database_url
        self.plan.migrate(database_url)
        environment = {
            **os.environ,
            **self.plan.env,
            "TRIAGE_DATABASE_URL": database_url,
            "TRIAGE_REDIS_URL": self.plan.redis_url or urls.redis_url,
        }
        for name, command in (("API", self.plan.api), ("worker", self.plan.worker)):
            self.children[name] = self._child(name, command, environment)
            self.children[name].start()
        self._await_ready()

    def _child(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Child:
        log = self.plan.log_dir / f"{name.lower()}.log" if self.plan.log_dir else None
        calm = ((signal.SIGTERM, self.plan.stop_seconds),)
        return Child(name, list(command), calm, env=environment, log=log, cwd=self.plan.cwd)

    def _await_ready(self) -> None:
        deadline = time.monotonic() + self.plan.ready_seconds
        while not self.plan.ready():
            for child in self.children.values():
                if not child.running():
                    raise ServerError(f"The {child.name} has stopped while starting ({child.ending()}).")
            if time.monotonic() > deadline:
                raise ServerError(f"The API was not ready within {self.plan.ready_seconds:.0f} seconds.")
            time.sleep(POLL_SECONDS)

    def watch(self, enough: Callable[[], bool] = never) -> None:
        while not enough():
            self.check()
            time.sleep(POLL_SECONDS)

    def check(self) -> None:
        """Starts again what has died, from the main thread; a death soon after a start costs a longer pause."""
        now = time.monotonic()
        if now >= self.servers_backoff.due:
            self._check_servers(now)
        self._check_children()

    def _check_servers(self, now: float) -> None:
        try:
            all_well = self.servers.check(self._check_children)
        except ServerError as error:
            all_well = False
            self.say(error.message)
        if not all_well:
            self.servers_backoff.schedule(now)

    def _check_children(self) -> None:
        now = time.monotonic()
        for name, child in self.children.items():
            self._check_child(child, self.backoffs[name], now)

    def _check_child(self, child: Child, backoff: Backoff, now: float) -> None:
        if child.running():
            child.trim_log()
        elif not backoff.scheduled:
            pause = backoff.schedule(now)
            self.say(f"The {child.name} has stopped by itself ({child.ending()}); starting it again in {pause:.0f} s.")
        elif now >= backoff.due:
            self._start_again(child, backoff, now)

    def _start_again(self, child: Child, backoff: Backoff, now: float) -> None:
        """Where there is no memory or no process for it at the moment, it is tried again: that may be why it died."""
        try:
            child.start()
            backoff.scheduled = False
        except OSError as error:
            pause = backoff.schedule(now)
            self.say(f"The {child.name} could not be started: {error.strerror}; trying again in {pause:.0f} s.")

    def stop(self) -> None:
        """The API first, so that nothing new comes in; then the worker; then Redis and Postgres."""
        for child in self.children.values():
            child.stop(self.hurried)
        self.servers.stop(self.hurried)


def run(plan: Plan, say: Say, job: Callable[[Service], None] = Service.watch) -> bool:
    """Starts everything, does the job and stops everything; false when Ctrl-C or SIGTERM ended the job.

    To be called from the main thread: signals arrive there, and the children live no longer than it.
    """
    with Signals() as signals:
        service = Service(plan, say, lambda: signals.hurry)
        try:
            service.start()
            job(service)
        except KeyboardInterrupt:
            say("Stopping; press Ctrl-C again to stop without waiting.")
            return False
        finally:
            signals.stopping = True
            service.stop()
        return True
