"""Strikes a plan's faults while tickets are in flight, and brings everything back after each. Used by __main__.py."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg
from callers import Callers
from parts import Part, Parts
from plan import Fault

POLL_S = 0.05
LOOK_S = 0.5
PATIENCE_S = 60.0  # so long a fault waits for a moment at which it hurts, while others go on
HOUR = """UPDATE tickets SET due_at = due_at - interval '1 hour', lease_until = lease_until - interval '1 hour'
          WHERE status IN ('queued', 'working')"""
DEPTH = (
    "SELECT count(*) FILTER (WHERE status = 'queued'), count(*) FILTER (WHERE status = 'working') FROM tickets "
    "WHERE status IN ('queued', 'working')"
)


@dataclass(frozen=True)
class Flight:
    """What was under way: tickets waiting and with workers (None: Postgres could not be asked), requests."""

    waiting: int | None
    working: int | None
    requests: int

    def __str__(self) -> str:
        asked = "" if self.waiting is None else f"{self.waiting} waiting, {self.working} in work, "
        return f"{asked}{self.requests} requests open"


@dataclass(frozen=True)
class Struck:
    """A fault as it really was."""

    fault: Fault
    part: str
    at: float
    flight: Flight

    @property
    def in_flight(self) -> bool:
        """Whether it had anything to hurt: an API process has requests, engine and workers tickets, servers both."""
        working = bool(self.flight.working) and self.fault.kind != "api"
        return working or (bool(self.flight.requests) and self.fault.kind not in ("engine", "worker"))


class Storm:
    """Runs in the main thread, to whose life all processes are bound."""

    def __init__(self, parts: Parts, callers: Callers, conninfo: str, say: Callable[[str], None]):
        self.parts, self.callers, self.conninfo, self.say = parts, callers, conninfo, say
        self.struck: list[Struck] = []
        self.down: list[tuple[float, Part]] = []
        self.began = self.looked = time.monotonic()
        self.flight = Flight(None, None, 0)

    def run(self, faults: list[Fault], seconds: float) -> None:
        """All faults, at their time or later; and on until the seconds are over and everything is back."""
        left = list(faults)
        while left or self.down or self._now() < seconds:
            self._bring_back()
            self._look()
            left = [fault for fault in left if not self._strike(fault)]
            time.sleep(POLL_S)

    def _now(self) -> float:
        return time.monotonic() - self.began

    def _look(self) -> None:
        """What is in flight, twice a second; callers slow down by it."""
        if time.monotonic() - self.looked > LOOK_S:
            self.flight = self._in_flight()
            self.looked = time.monotonic()
            self.callers.waiting = self.flight.waiting or 0

    def _in_flight(self, part: Part | None = None) -> Flight:
        row = self._sql(DEPTH)
        ports = [part.port] if part is not None and part.kind == "api" else self.callers.ports
        return Flight(*(row or (None, None)), sum(self.callers.open[port] for port in ports))

    def _sql(self, statement: str) -> tuple[int, int] | None:
        """One statement, if Postgres is up; it must not hold the storm up."""
        (postgres,) = self.parts.of("postgres")
        if not postgres.running:
            return None
        try:
            options = "-c statement_timeout=2000 -c lock_timeout=500"
            with psycopg.connect(self.conninfo, autocommit=True, connect_timeout=2, options=options) as connection:
                cursor = connection.execute(statement.encode())
                return cursor.fetchone() if cursor.description else None
        except psycopg.Error:
            return None

    def _strike(self, fault: Fault) -> bool:
        late = self._now() - fault.at
        part = self._target(fault) if late >= 0 else None
        if part is None:
            return False
        struck = Struck(fault, part.name, self._now(), self._in_flight(part))
        if not struck.in_flight and late < PATIENCE_S:
            return False
        {"kill": part.kill, "freeze": part.freeze, "kill a backend": part.kill_a_backend}[fault.how]()
        self.struck.append(struck)
        self.down.append((time.monotonic() + fault.seconds, part))
        if fault.hour:
            self._sql(HOUR)
        hour = ", and an hour passes" if fault.hour else ""
        self.say(f"{struck.at:6.1f} s  {part.name}: {fault.how} for {fault.seconds:.1f} s{hour}; {struck.flight}")
        return True

    def _target(self, fault: Fault) -> Part | None:
        """One of the kind that runs, or nobody yet."""
        hurt = [part for _, part in self.down]
        able = [part for part in self.parts.of(fault.kind) if part.running and part not in hurt]
        return able[fault.which % len(able)] if able else None

    def _bring_back(self) -> None:
        now = time.monotonic()
        for until, part in list(self.down):
            if until <= now:
                self.down.remove((until, part))
                part.thaw()
                if not part.child.running():
                    part.start()
