"""What must hold in the end, by SQL over rows and ledger: nothing lost, doubled or miscounted. Used by __main__.py."""

from typing import Any

import psycopg
from ledger import Ledger
from sqlalchemy import Engine

from models.db import transaction
from service.experiments.rollups import keep
from service.experiments.rollups.count import Key, count
from service.experiments.rollups.counts import Counts
from service.experiments.rollups.roll import FIRST, LAST, roll

COUNT_S = 120.0  # for all hours: a deadline, not a measure
LEDGER = "CREATE TEMP TABLE ledger (name text PRIMARY KEY, state text, id uuid, run int, poison bool)"
# A row is a ticket's last run; an earlier one, on a text that was replaced, may have been decided or not.
TRIAGES = "SELECT count(*) FROM triages x WHERE x.ticket_id = t.id AND x.run = t.run"
FIELDS = "SELECT count(*) FROM taxonomy_versions, jsonb_object_keys(document -> 'fields')"
ROWS = "tickets t JOIN ledger l ON l.name = t.requester"
BROKEN = {
    "accepted without a row": """SELECT count(*) FROM ledger l WHERE state = 'accepted'
        AND NOT EXISTS (SELECT FROM tickets t WHERE t.requester = l.name AND t.id = l.id)""",
    "rows that nobody sent": """SELECT count(*) FROM tickets t
        WHERE NOT EXISTS (SELECT FROM ledger l WHERE l.name = t.requester)""",
    "names with two rows": "SELECT count(*) - count(DISTINCT requester) FROM tickets",
    "refused with a row": f"SELECT count(*) FROM {ROWS} WHERE l.state = 'refused'",
    "not done": f"SELECT count(*) FROM {ROWS} WHERE NOT l.poison AND t.status <> 'done'",
    "with an attempt that was not theirs": f"SELECT count(*) FROM {ROWS} WHERE NOT l.poison AND t.attempts <> 0",
    "poison that did not fail": f"SELECT count(*) FROM {ROWS} WHERE l.poison AND t.status <> 'failed'",
    "done without a triage of each field": f"""SELECT count(*) FROM tickets t
        WHERE status = 'done' AND ({TRIAGES}) <> ({FIELDS})""",
    "failed with a triage": f"SELECT count(*) FROM tickets t WHERE status = 'failed' AND ({TRIAGES}) <> 0",
    "runs with two triages": """SELECT count(*) FROM
        (SELECT FROM triages GROUP BY ticket_id, field, run HAVING count(*) > 1) twice""",
    "triages without their predictions": """SELECT count(*) FROM triages x WHERE (SELECT count(*) FROM predictions p
        WHERE (p.ticket_id, p.run, p.field) = (x.ticket_id, x.run, x.field)) NOT BETWEEN 1 AND 2""",
    "predictions without their triage": """SELECT count(*) FROM predictions p WHERE NOT EXISTS (SELECT FROM triages x
        WHERE (p.ticket_id, p.run, p.field) = (x.ticket_id, x.run, x.field))""",
    "in another run than were accepted": f"SELECT count(*) FROM {ROWS} WHERE l.state = 'accepted' AND t.run <> l.run",
    "without a revision for each earlier run": """SELECT count(*) FROM tickets t
        WHERE (SELECT count(*) FROM revisions r WHERE r.ticket_id = t.id) <> t.run - 1""",
    "failed by more lost workers than were struck": """SELECT count(*) FROM tickets
        WHERE status = 'failed' AND lost_leases >= 3""",
    "still under a lease": "SELECT count(*) FROM tickets WHERE lease_id IS NOT NULL OR lease_until IS NOT NULL",
}


def broken(connection: psycopg.Connection[Any], ledger: Ledger) -> dict[str, int]:
    """What does not hold, and how often; empty when all is well."""
    connection.execute(LEDGER)
    with connection.cursor().copy("COPY ledger FROM STDIN") as copy:
        for name, entry in ledger.entries.items():
            copy.write_row((name, entry.state, entry.told, entry.run, entry.poison))
    counted = {name: connection.execute(statement.encode()).fetchone() for name, statement in BROKEN.items()}
    connection.execute("DROP TABLE ledger")
    return {name: row[0] for name, row in counted.items() if row and row[0] != 0}


def miscounted(engine: Engine) -> list[str]:
    """The hours and days of which reports, once all is counted, do not say what the rows do: a sentence for each."""
    roll(engine, COUNT_S)
    with transaction(engine) as session:
        hours = count(session, FIRST, LAST)
        kept = {span: keep.read(session, span, FIRST, LAST) for span in ("hour", "day")}
    wrong = unlike(kept["hour"], hours, "hour") + unlike(kept["day"], by_days(hours), "day")
    return [f"Reports miscount the {span}." for span in wrong]


def by_days(hours: dict[Key, Counts]) -> dict[Key, Counts]:
    found: dict[Key, Counts] = {}
    for day in {keep.of_day(key[0]) for key in hours}:
        found |= keep.by_day({key: counts for key, counts in hours.items() if keep.of_day(key[0]) == day}, day)
    return found


def unlike(kept: dict[Key, Counts], rows: dict[Key, Counts], span: str) -> list[str]:
    starts = {key[0] for key in kept.keys() | rows.keys() if kept.get(key) != rows.get(key)}
    return [f"{span} from {start:%Y-%m-%d %H:%M}" for start in sorted(starts)]
