"""A lease lasts as long as its worker works, so that nobody else takes what is slow; but not for ever."""

import threading
from contextlib import contextmanager

import pytest
from processes import eventually
from serving import draining
from structlog.testing import capture_logs

from models.errors import Unavailable
from models.tables import new_id
from workers import claim
from workers.drain import Drain
from workers.llm import Llm

# All but a sixth of a lease passes at once.
PASSES = "UPDATE tickets SET lease_until = lease_until - interval '50 seconds' WHERE status = 'working'"
ENDS = "UPDATE tickets SET lease_until = now() - interval '1 second' WHERE status = 'working'"
RENEWED = "SELECT lease_until > now() + interval '30 seconds' FROM tickets"
TICKET = "SELECT status, lost_leases, (SELECT count(*) FROM triages) FROM tickets"


class Slow:
    """An engine whose first answer takes until `go`."""

    def __init__(self):
        self.begun, self.go, self.asked = threading.Event(), threading.Event(), []

    def wait(self, llm):
        self.asked.append(llm)
        if len(self.asked) == 1:
            self.begun.set()
            assert self.go.wait(120)

    @contextmanager
    def asked_by(self, drain):
        """A worker has asked it, and at the end is done."""
        with draining(drain):
            try:
                assert self.begun.wait(60)
                yield
            finally:
                self.go.set()


@pytest.fixture
def slow(monkeypatch):
    made, real = Slow(), Llm.ask

    def ask(llm, *given):
        made.wait(llm.name)
        return real(llm, *given)

    monkeypatch.setattr(Llm, "ask", ask)
    monkeypatch.setattr(claim, "RENEW_S", 0.05)
    return made


@pytest.fixture
def other(database, llms, loaded):
    """A second worker."""
    made = Drain(database, llms, loaded.config, 4)
    yield made
    made.close()


@pytest.fixture
def ticket(client, sql):
    """One, which the fallback is not asked about."""
    assert client.post("/v1/tickets", json={"body": "I want a refund"}).status_code == 202
    sql("UPDATE tickets SET shadow = false")


def test_what_takes_several_leases_stays_with_its_worker(ticket, drain, other, sql, slow):
    with slow.asked_by(drain):
        for _ in range(3):
            sql(PASSES)
            eventually(lambda: sql(RENEWED) == [(True,)], why="the lease is not renewed")
            other.sweep()
            other.run()
            assert sql(TICKET) == [("working", 0, 0)]
    assert sql(TICKET) == [("done", 0, 1)]
    assert slow.asked.count("primary") == 1


def test_what_takes_longer_than_any_answer_goes_to_another_worker(ticket, drain, other, sql, slow, monkeypatch):
    monkeypatch.setattr(claim, "LONGEST_S", 0.5)
    with slow.asked_by(drain):
        eventually(lambda: "renew" not in [thread.name for thread in threading.enumerate()], why="it is renewed on")
        sql(ENDS)
        other.sweep()
        assert sql(TICKET) == [("queued", 1, 0)]
        other.run()
        assert sql(TICKET) == [("done", 0, 1)]
    assert sql(TICKET) == [("done", 0, 1)]
    assert slow.asked.count("primary") == 2


def test_a_renewal_that_fails_again_and_again_is_told_once(database, monkeypatch):
    left, enough = iter(range(20)), threading.Event()

    def away(engine):
        if next(left, None) is None:
            enough.set()
        raise Unavailable("Postgres does not answer")

    monkeypatch.setattr(claim, "transaction", away)
    monkeypatch.setattr(claim, "RENEW_S", 0.001)
    monkeypatch.setattr(claim, "AGAIN_S", 0.001)
    with capture_logs() as lines, claim.renewed(database, claim.Batch(new_id(), [])):
        assert enough.wait(60)
    assert [line["event"] for line in lines] == ["lease.not_renewed"]
