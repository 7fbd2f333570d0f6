"""Tickets that lost three workers in a row: kills without pause bring that about, for so many. Used by __main__.py."""

from typing import Any

import psycopg
from parts import WORKERS
from storm import Struck

# What an operator does with them.
REQUEUE = """UPDATE tickets SET status = 'queued', lost_leases = 0 WHERE id = ANY(ARRAY(
    SELECT id FROM tickets WHERE status = 'failed' AND lost_leases >= 3 LIMIT %s))"""


def most(struck: list[Struck]) -> int:
    """How many can have failed so: the first worker was lost with a whole batch, the next two with that ticket alone.

    When an hour passes, every worker loses what it has.
    """
    alone = sum(WORKERS if one.fault.hour else 1 for one in struck if one.fault.kind == "worker")
    return alone // 2


def requeue(connection: psycopg.Connection[Any], count: int) -> int:
    """Queues up to so many again; how many those were. What has failed beyond that is left for the proof to see."""
    return connection.execute(REQUEUE, (count,)).rowcount
