"""An engine that has become slow: what waits for it too long goes back to the queue, where it stood."""

import threading
import time
from types import SimpleNamespace

import pytest
from processes import eventually

from models.errors import EngineDown
from workers import drain as drains
from workers import settle
from workers.claim import claim
from workers.inflight import Scoring
from workers.llm import Llm
from workers.runtime import Runtime

BODIES = [f"My card {number} has not arrived yet" for number in range(10)]
CALL_S = 0.3


@pytest.fixture
def slow(monkeypatch):
    """Every question takes a while; half a lease is over before a second round of the slots begins."""
    monkeypatch.setattr(drains, "HALF_LEASE_S", CALL_S / 2)
    real = Llm.ask

    def ask(*given):
        time.sleep(CALL_S)
        return real(*given)

    monkeypatch.setattr(Llm, "ask", ask)


@pytest.fixture
def given_back(monkeypatch):
    """The tickets that went back, batch by batch."""
    real, found = settle.give_back, []

    def noted(engine, batch, ids, **more):
        found.append((ids, more))
        real(engine, batch, ids, **more)

    monkeypatch.setattr(settle, "give_back", noted)
    return found


def test_what_was_not_begun_goes_back_at_no_cost_and_keeps_its_place(client, drain, sql, slow, given_back):
    post(client, BODIES)
    places = dict(sql("SELECT id, due_at FROM tickets"))
    drain.run()
    batches = [ids for ids, more in given_back if ids]
    assert batches, "with four slots and one batch of ten, six had to wait"
    assert all(more == {"delay_s": 0.0, "error": None} for ids, more in given_back if ids)
    assert sql("SELECT status, count(*), max(attempts), max(lost_leases) FROM tickets GROUP BY 1") == [
        ("done", len(BODIES), 0, 0)
    ]
    assert dict(sql("SELECT id, due_at FROM tickets")) == places
    assert sql("SELECT count(*), count(DISTINCT ticket_id) FROM triages") == [(len(BODIES), len(BODIES))]


@pytest.fixture
def hanging(client, drain, sql, monkeypatch):
    """A drain at work, one of whose calls hangs until it is told to end; by now the nine others are done."""
    monkeypatch.setattr(drains, "HALF_LEASE_S", 0.1)
    real, end = drain._score, threading.Event()

    def score(vocabulary, ticket):
        if ticket.body == BODIES[0]:
            end.wait(60)
        return real(vocabulary, ticket)

    monkeypatch.setattr(drain, "_score", score)
    post(client, BODIES)
    thread = threading.Thread(target=drain.run)
    thread.start()
    eventually(lambda: states(sql) == {"done": 9, "working": 1}, why="one call held the others up")
    yield end
    end.set()
    thread.join(60)
    assert not thread.is_alive()


def post(client, bodies):
    client.post("/v1/tickets/batch", json={"tickets": [{"body": body} for body in bodies]}).raise_for_status()


def states(sql):
    return dict(sql("SELECT status, count(*) FROM tickets GROUP BY 1"))


def test_a_call_that_hangs_holds_up_nobody_else(client, sql, hanging):
    post(client, ["One that comes meanwhile"])
    eventually(lambda: states(sql) == {"done": 10, "working": 1}, why="the worker claims no more")
    hanging.set()
    eventually(lambda: states(sql) == {"done": 11}, why="what hung was not written when it ended")
    assert sql("SELECT count(*), count(DISTINCT ticket_id) FROM triages") == [(11, 11)]
    assert sql("SELECT max(attempts), max(lost_leases), count(lease_id) FROM tickets") == [(0, 0, 0)]


def test_a_call_that_hangs_goes_back_when_the_worker_stops(drain, sql, hanging, monkeypatch):
    monkeypatch.setattr("workers.stop.FINISH_S", 0.0)
    drain.stop()
    eventually(lambda: states(sql) == {"done": 9, "queued": 1}, why="it was not given back")
    assert sql("SELECT max(attempts), max(lost_leases), count(lease_id) FROM tickets") == [(0, 0, 0)]


def test_who_may_kill_a_worker_is_not_claimed_beside_a_call_that_hangs(client, sql, hanging):
    post(client, ["It has lost a worker"])
    sql("UPDATE tickets SET lost_leases = 1, status = 'queued' WHERE body = 'It has lost a worker'")
    post(client, ["One that comes meanwhile"])
    eventually(lambda: sql("SELECT status FROM tickets WHERE body = 'One that comes meanwhile'") == [("done",)])
    assert sql("SELECT status FROM tickets WHERE lost_leases = 1") == [("queued",)]
    hanging.set()
    eventually(lambda: states(sql) == {"done": 12})


def test_a_call_that_hangs_is_settled_when_it_ends_also_while_no_llm_is_ready(client, drain, sql, hanging, monkeypatch):
    """Otherwise its ticket would stay under the lease until that ran out, and count as one that lost its worker."""

    def away(*_):
        raise EngineDown("away")

    monkeypatch.setattr(drains, "serve", away)
    post(client, ["One for which the engine is away"])
    eventually(lambda: not drain.running.locked(), why="the drain goes on")
    assert states(sql) == {"done": 9, "working": 1, "queued": 1}
    worker = SimpleNamespace(drain=drain, llms=SimpleNamespace(ready=lambda: False))
    Runtime.work(worker)
    assert states(sql)["working"] == 1, "its call has not ended yet"
    hanging.set()
    eventually(lambda: Runtime.work(worker) or states(sql) == {"done": 9, "queued": 2}, why="it is kept")
    assert sql("SELECT max(attempts), max(lost_leases), count(lease_id) FROM tickets") == [(0, 0, 0)]


def test_a_batch_that_nobody_has_begun_is_over_when_it_is_stopped():
    scoring = Scoring([], score=lambda ticket: pytest.fail("nobody begins"))
    scoring.stop()
    assert scoring.over.is_set()


def test_what_is_in_hand_when_it_is_stopped_is_waited_for(client, drain, sql):
    """The slots have four of ten, then the batch is stopped, then the four are answered."""
    post(client, BODIES)
    batch = claim(drain.database, len(BODIES))
    begun, go_on = threading.Barrier(5), threading.Event()

    def score(ticket):
        begun.wait(30)
        go_on.wait(30)
        return ticket.id

    scoring = Scoring(batch.tickets, score)
    scoring.start(drain.pool, 4)
    begun.wait(30)
    scoring.stop()
    assert not scoring.over.is_set()
    go_on.set()
    assert scoring.over.wait(30)
    assert len(scoring.outcomes) == 4
