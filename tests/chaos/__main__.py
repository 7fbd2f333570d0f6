"""`make chaos`: tickets are posted while every process of a Triage is killed and frozen, and in the end all is counted.

It lies with the tests, and not with what measures speed, because its answer is yes or no. `python tests/chaos`.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import proof
import psycopg
import suspects
from callers import Callers
from parts import ROOT, Parts
from plan import KINDS, LEAST, least, plan
from rich.console import Console
from rich.table import Table
from storm import Storm, Struck

import migrations
from models import taxonomy
from models.db import conninfo, make_engine, transaction
from service.auth.keys import Scope, create_key
from service.supervisor import Signals

DRAIN_S = 600.0  # for everything to be done once it is back: a deadline, not a measure
SAY_S = 5.0
# What nobody has renewed for 25 of its 60 seconds is a dead worker's; the rest of the minute need not be waited for.
HASTEN = """UPDATE tickets SET due_at = least(due_at, now()), lease_until = CASE
    WHEN lease_until < now() + interval '35 s' THEN now() - interval '1 s' ELSE lease_until END
    WHERE status IN ('queued', 'working')"""
OPEN = "SELECT count(*) FROM tickets WHERE status IN ('queued', 'working')"

screen = Console(width=None if sys.stdout.isatty() else 120, highlight=False)
notes = Console(stderr=True, highlight=False)


def main(seed: int, seconds: float) -> bool:
    """Whether everything holds; a folder with the logs is left where it does not."""
    folder = Path(tempfile.mkdtemp(prefix="triage-chaos-"))
    well = False
    parts = Parts(folder, say)
    with Signals() as signals:
        try:
            well = run(parts, seed, seconds)
        finally:
            signals.stopping = True
            parts.stop()
            if well or isinstance(sys.exception(), KeyboardInterrupt):
                shutil.rmtree(folder)
            else:
                say(f"The logs are in {folder}.")
    return well


def run(parts: Parts, seed: int, seconds: float) -> bool:
    say(f"Starting Postgres, Redis, the engine, 2 API processes and 2 workers; seed {seed}.")
    urls = parts.start_servers()
    key = prepare(urls.database_url)
    parts.start_ours(urls)
    callers = Callers([part.port for part in parts.of("api")], key, seed)
    storm = Storm(parts, callers, conninfo(urls.database_url), say)
    callers.start()
    try:
        storm.run(plan(seed, seconds), seconds)
    finally:
        callers.stop()
    parts.bring_back()
    with psycopg.connect(conninfo(urls.database_url), autocommit=True) as connection:
        lost = drain(connection, callers, suspects.most(storm.struck))
        found = proof.broken(connection, callers.ledger)
        rows = dict(connection.execute("SELECT status, count(*) FROM tickets GROUP BY status").fetchall())
    show(seed, callers, storm.struck, rows | {"lost three workers, queued again": lost})
    complaints = [f"{count} tickets are {what}." for what, count in found.items()] + callers.ledger.wrong
    complaints += miscounted(urls.database_url)
    complaints += [f"{name} has logged a traceback." for name in parts.tracebacks()]
    return verdict(complaints + too_few(storm.struck, seconds), len(storm.struck))


def prepare(database_url: str) -> str:
    """The schema, the taxonomy and a key."""
    migrations.upgrade(database_url)
    database = make_engine(database_url, pool_size=1)
    with transaction(database) as session:
        taxonomy.store(session, taxonomy.load(ROOT / "taxonomy.yaml"))
        key = create_key(session, "chaos", [Scope.TICKETS_WRITE])[1]
    database.dispose()
    return key


def miscounted(database_url: str) -> list[str]:
    database = make_engine(database_url, pool_size=1)
    try:
        return proof.miscounted(database)
    finally:
        database.dispose()


def drain(connection: psycopg.Connection, callers: Callers, most: int) -> int:
    """Everything is back: what was unanswered is sent again, and all tickets are decided. How many were requeued."""
    deadline = time.monotonic() + DRAIN_S
    callers.settle(deadline)
    lost, said = 0, 0.0
    while True:
        lost += suspects.requeue(connection, most - lost)
        ((left,),) = connection.execute(OPEN).fetchall()
        if left == 0 or time.monotonic() > deadline:
            return lost
        connection.execute(HASTEN)
        if time.monotonic() - said > SAY_S:
            said = time.monotonic()
            say(f"Everything is back; {left} tickets are not done yet.")
        time.sleep(0.5)


def show(seed: int, callers: Callers, struck: list[Struck], rows: dict[str, int]) -> None:
    screen.print(f"Seed {seed}")
    states = callers.ledger.states()
    ledger = {"sent": len(callers.ledger.entries)} | {name: states[name] for name in ("accepted", "refused", "unknown")}
    screen.print("Ledger: " + counted(ledger))
    screen.print("Answers: " + counted(dict(sorted(callers.ledger.answers.items()))))
    screen.print("Rows: " + counted(rows))
    table = Table("component", "killed", "frozen", "with work in flight", "most in work", "most requests open")
    for kind in KINDS:
        mine = [one for one in struck if one.fault.kind == kind]
        frozen = sum(one.fault.how == "freeze" for one in mine)
        table.add_row(
            kind,
            str(len(mine) - frozen),
            str(frozen),
            str(sum(one.in_flight for one in mine)),
            str(max((one.flight.working or 0 for one in mine), default=0)),
            str(max((one.flight.requests for one in mine), default=0)),
        )
    screen.print(table)


def counted(found: dict[str, int]) -> str:
    return ", ".join(f"{name} {number}" for name, number in found.items())


def too_few(struck: list[Struck], seconds: float) -> list[str]:
    """A run that hurt nothing proves nothing: only faults with work in flight count."""
    whole, each = least(seconds)
    counts = Counter(one.fault.kind for one in struck if one.in_flight)
    wanted = {kind: each for kind in KINDS if counts[kind] < each}
    if whole < LEAST:
        screen.print(f"A run this short needs only {whole} faults, {each} of each component.", style="dim")
    found = [f"Only {counts[kind]} faults of {kind} had work in flight; it needs {n}." for kind, n in wanted.items()]
    if counts.total() < whole:
        found.append(f"Only {counts.total()} faults had work in flight; a run of this length needs {whole}.")
    return found


def verdict(complaints: list[str], faults: int) -> bool:
    """Says what does not hold, in sentences."""
    for complaint in complaints:
        screen.print(complaint, style="red", markup=False)
    if not complaints:
        screen.print(f"Nothing was lost and nothing doubled in {faults} faults.")
    return not complaints


def say(sentence: str) -> None:
    notes.print(sentence, style="dim", markup=False, soft_wrap=True)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(prog="chaos", description="Kills and freezes every process of a Triage under load.")
    asked.add_argument("--seconds", type=float, default=600.0, help="how long faults are struck [600]")
    asked.add_argument("--seed", type=int, default=1, help="decides what is posted and what is struck [1]")
    given = asked.parse_args()
    try:
        sys.exit(0 if main(given.seed, given.seconds) else 1)
    except KeyboardInterrupt:
        sys.exit(130)
