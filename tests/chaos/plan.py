"""What is done to whom and when: drawn from the seed alone, so that a run can be made again. Used by storm.py."""

import math
import random
from dataclasses import dataclass

KINDS = ("api", "worker", "postgres", "redis", "engine")
FIRST_S, EVERY_S = 2.0, 2.2
LONG = 8  # one fault in so many lasts longer than any timeout of ours
WHOLE_S = 60.0
LEAST, LEAST_EACH = 20, 3  # faults of a run of WHOLE_S or more


@dataclass(frozen=True)
class Fault:
    """`how` is kill, kill a backend (of Postgres) or freeze; `seconds` until it is brought back.

    `which` chooses among those of the kind; `hour` says that meanwhile an hour passes for leases and waiting tickets.
    """

    at: float
    kind: str
    which: int
    how: str
    seconds: float
    hour: bool


def plan(seed: int, seconds: float) -> list[Fault]:
    """Every kind in turn, in an order of its own each time; each is killed and frozen by turns."""
    rng = random.Random(seed)
    faults: list[Fault] = []
    deck: list[str] = []
    kills = {kind: rng.random() < 0.5 for kind in KINDS}
    at = min(FIRST_S, seconds / 10)
    while at < seconds:
        deck = deck or rng.sample(KINDS, len(KINDS))
        kind = deck.pop()
        faults.append(_fault(rng, at, kind, kills[kind]))
        kills[kind] = not kills[kind]
        at += EVERY_S * rng.uniform(0.6, 1.4)
    return faults


def _fault(rng: random.Random, at: float, kind: str, kills: bool) -> Fault:
    how = "kill" if kills else "freeze"
    if how == "kill" and kind == "postgres" and rng.random() < 0.4:
        how = "kill a backend"
    seconds = rng.uniform(8.0, 12.0) if rng.randrange(LONG) == 0 else rng.uniform(0.2, 3.0)
    return Fault(at, kind, rng.randrange(1000), how, seconds, hour=kind == "worker" and rng.random() < 0.5)


def least(seconds: float) -> tuple[int, int]:
    """How many faults a run of this length has to have, in all and of each kind; fewer only where it is shorter."""
    share = min(1.0, seconds / WHOLE_S)
    return math.floor(share * LEAST), math.floor(share * LEAST_EACH)
