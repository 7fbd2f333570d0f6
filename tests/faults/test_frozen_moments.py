"""Frozen while claiming, while writing, between the commit of a post and its nudge, and between that and its answer.

Others go on beside it; then it goes on in time, or too late, or never. test_exact_moments.py kills at the same moments.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import httpx
import psutil
import pytest
from moments import CLAIMING, COMMITTING, WRITING, frozen, held_at, left_open, until_held
from processes import Up, eventually, gone

MANY = 20
STATES = "SELECT status, count(*) FROM tickets WHERE id = ANY(%s) GROUP BY status ORDER BY status"
NOT_DONE = "SELECT count(*) FROM tickets WHERE id = ANY(%s) AND status <> 'done'"
UNLOCKED = "SELECT count(*) FROM (SELECT FROM tickets WHERE id = ANY(%s) FOR UPDATE SKIP LOCKED) AS unlocked"
# What Postgres does by itself to a transaction that nobody has gone on with for thirty seconds.
END = "SELECT pg_terminate_backend(%s, 5000)"
RESULTS = "SELECT id, ticket_id, run, field FROM {} WHERE ticket_id = ANY(%s) ORDER BY id"
TIMES = "SELECT id, claimed_at, done_at FROM tickets WHERE id = ANY(%s) ORDER BY id"


def until_done(up: Up, ids: list[str]) -> None:
    eventually(lambda: up.sql(STATES, ids) == [("done", len(ids))], why="not all of them are done")


def recorded(up: Up, ids: list[str]) -> list[list[tuple[object, ...]]]:
    """Every result of these tickets, and when each was done; one decision of each run, or it fails."""
    found = [up.sql(statement, ids) for statement in (RESULTS.format("triages"), RESULTS.format("predictions"), TIMES)]
    assert sorted(str(row[1]) for row in found[0]) == sorted(ids)
    return found


def until_it_works(up: Up, worker: psutil.Process) -> None:
    """Waits until this worker, the only one, has done a ticket."""
    until_done(up, up.post_many(1, "Is the thawed worker well?"))
    assert up.part("worker").pid == worker.pid


@contextmanager
def frozen_in(up: Up, moment: str, body: str) -> Iterator[tuple[list[str], psutil.Process, int]]:
    """Tickets, the worker frozen in what it does with them, and Postgres's session that is left open by that."""
    with held_at(up, moment) as let_through:
        ids = up.post_many(MANY, body)
        until_held(up, "triage")
        with frozen(up.part("worker")) as worker:
            let_through()
            yield ids, worker, left_open(up, moment)


@pytest.mark.parametrize("then", ["thawed", "killed"])
def test_a_worker_frozen_while_it_claims(up: Up, then: str) -> None:
    """In flight: twenty tickets, some or all of them in a claim that is not committed. No lease has to run out."""
    lost = up.output().count("lease.")
    with frozen_in(up, CLAIMING, f"In a claim that is {then}") as (ids, worker, _):
        assert up.sql(STATES, ids) == [("queued", MANY)]
        assert up.one(UNLOCKED, ids) < MANY
        if then == "killed":
            worker.kill()
            eventually(lambda: gone([worker]))
    until_done(up, ids)
    recorded(up, ids)
    assert up.output().count("lease.") == lost
    assert (up.part("worker").pid == worker.pid) is (then == "thawed")


def test_a_worker_frozen_while_it_claims_and_thawed_too_late(up: Up, request: pytest.FixtureRequest) -> None:
    """In flight: the same. Another worker passes over what is locked, and has it when Postgres has ended the claim."""
    with frozen_in(up, CLAIMING, "In a claim that Postgres ends") as (ids, worker, session):
        locked = MANY - up.one(UNLOCKED, ids)
        second = request.getfixturevalue("second_worker")
        until_done(up, up.post_many(MANY, "Posted meanwhile"))
        eventually(lambda: up.one(NOT_DONE, ids) == locked)
        assert dict(up.sql(STATES, ids))["queued"] == locked
        up.sql(END, session)
        until_done(up, ids)
        before = recorded(up, ids)
        second.terminate()
        assert second.wait(20) == 0
    until_it_works(up, worker)
    assert recorded(up, ids) == before


def test_a_worker_frozen_while_it_writes(up: Up) -> None:
    """In flight: one batch, whose results only the commit is missing to. It is thawed in time, and commits them."""
    lost = up.output().count("lease.")
    with frozen_in(up, WRITING, "In a write that is thawed") as (ids, worker, _):
        assert up.sql(RESULTS.format("triages"), ids) == []
    until_done(up, ids)
    recorded(up, ids)
    assert up.output().count("lease.") == lost
    assert up.part("worker").pid == worker.pid


def test_a_worker_frozen_while_it_writes_and_thawed_too_late(up: Up, request: pytest.FixtureRequest) -> None:
    """In flight: the same. Postgres ends the write, the lease runs out, another worker does the tickets."""
    with frozen_in(up, WRITING, "In a write that Postgres ends") as (ids, worker, session):
        held = dict(up.sql(STATES, ids))["working"]
        up.sql(END, session)
        assert dict(up.sql(STATES, ids))["working"] == held
        assert up.sql(RESULTS.format("predictions"), ids) == []
        up.expire_leases()
        second = request.getfixturevalue("second_worker")
        until_done(up, ids)
        before = recorded(up, ids)
        second.terminate()
        assert second.wait(20) == 0
        lost = up.output().count("lease.lost")
    eventually(lambda: up.output().count("lease.lost") > lost, why="the frozen worker never tried to write")
    assert recorded(up, ids) == before
    until_it_works(up, worker)
    assert recorded(up, ids) == before


@dataclass
class Post:
    """One POST from a thread of its own; `answer` stays None while there is none, or if the connection broke."""

    up: Up
    body: str
    wait: int
    answer: httpx.Response | None = None
    thread: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.thread = threading.Thread(target=self._post)
        self.thread.start()

    def _post(self) -> None:
        with self.up.client() as client:
            try:
                self.answer = posted(client, self.body, f"?wait={self.wait}")
            except httpx.TransportError:
                return

    def end(self) -> httpx.Response | None:
        self.thread.join()
        return self.answer


def posted(client: httpx.Client, body: str, query: str = "") -> httpx.Response:
    return client.post(f"/v1/tickets{query}", json={"body": body}, headers={"Idempotency-Key": body})


# The nudge comes before the answer: who waits for a result that a worker is about to write has sent it.
MOMENTS = {"nudge": (COMMITTING, "triage-door", 0), "answer": (WRITING, "triage", 30)}


@pytest.mark.parametrize("then", ["thawed", "killed"])
@pytest.mark.parametrize("before", MOMENTS)
def test_an_api_frozen_after_its_commit(up: Up, second_port: int, before: str, then: str) -> None:
    """In flight: one post, committed, of which the caller knows nothing; and before the nudge no worker either."""
    moment, who, wait = MOMENTS[before]
    with up.client() as other, held_at(up, moment) as let_through:
        other.base_url = httpx.URL(f"http://127.0.0.1:{second_port}")
        post = Post(up, f"Frozen before its {before}, then {then}", wait)
        until_held(up, who)
        with frozen(up.part("serve")) as api:
            let_through()
            ((ticket_id,),) = eventually(lambda: up.sql("SELECT id::text FROM tickets WHERE body = %s", post.body))
            until_done(up, [ticket_id])
            again = posted(other, post.body)
            assert post.answer is None
            if then == "killed":
                api.kill()
                eventually(lambda: gone([api]))
    answer = post.end()
    assert (again.status_code, again.json()["id"]) == (202, ticket_id)
    if then == "thawed":
        assert answer is not None
        assert (answer.is_success, answer.json()["id"]) == (True, ticket_id)
    else:
        assert answer is None
        up.until("ok")
    assert up.sql("SELECT id::text, run FROM tickets WHERE body = %s", post.body) == [(ticket_id, 1)]
    assert up.one("SELECT count(*) FROM idempotency_keys WHERE key = %s", post.body) == 1
    recorded(up, [ticket_id])
