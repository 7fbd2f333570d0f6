"""A ticket that was erased or changed while a worker has it in hand goes to no llm, and its neighbours are done."""

import pytest

from models.errors import Unavailable
from service.config import EngineConfig
from workers import ours as leases
from workers.claim import claim
from workers.drain import Drain
from workers.llm import Llm
from workers.llms import _elsewhere
from workers.ours import Ours, still_ours

BODIES = ["my card is late", "my pin is wrong", "i want a refund", "my top up is pending"]


@pytest.fixture
def four(client):
    items = client.post("/v1/tickets/batch", json={"tickets": [{"external_id": b, "body": b} for b in BODIES]})
    return [item["id"] for item in items.json()["items"]]


@pytest.fixture
def heard(monkeypatch):
    """Every text that an llm is asked about; what is in `during` is called with the first of them."""
    texts, during, real = [], [], Llm.ask

    def ask(llm, text, field, labels):
        texts.append(text.text)
        while during:
            during.pop()(text.text)
        return real(llm, text, field, labels)

    monkeypatch.setattr(Llm, "ask", ask)
    return texts, during


@pytest.fixture
def one_by_one(database, llms, loaded):
    made = Drain(database, llms, loaded.config, 1)
    yield made
    made.pool.shutdown()


@pytest.mark.parametrize("far", [True, False])
def test_what_is_erased_or_changed_while_it_waits_in_hand_is_not_asked(
    client, four, heard, one_by_one, llms, sql, monkeypatch, far
):
    """Here once a second; where the llm is on another machine, always."""
    texts, during = heard
    monkeypatch.setattr(llms, "leaves", far)
    monkeypatch.setattr(leases, "OFTEN_S", 3600.0 if far else -1.0)

    gone, changed, kept = [], [], []

    def meanwhile(first):
        assert sql("SELECT count(*) FROM tickets WHERE status = 'working'") == [(4,)]
        for body, into in zip([one for one in BODIES if one != first], (gone, changed, kept), strict=True):
            into.append(body)
        assert client.delete(f"/v1/tickets/{four[BODIES.index(*gone)]}").status_code == 200
        client.post("/v1/tickets", json={"external_id": changed[0], "body": "where is it"}).raise_for_status()

    during.append(meanwhile)
    one_by_one.run()
    assert set(texts) == {*BODIES, "where is it"} - {*gone, *changed}
    assert sql("SELECT status, count(*) FROM tickets GROUP BY 1") == [("done", 4)]
    runs = dict(sql("SELECT t.external_id, d.run FROM triages d JOIN tickets t ON t.id = d.ticket_id"))
    assert runs == {body: 2 if body in changed else 1 for body in BODIES if body not in gone}


def test_only_what_stands_under_this_lease_is_ours(database, four, sql):
    batch, other = claim(database, 2), claim(database, 2)
    ids = [ticket.id for ticket in batch.tickets]
    sql("UPDATE tickets SET lease_id = NULL, status = 'queued' WHERE id = %s", ids[0])
    assert still_ours(database, batch.lease, ids) == {ids[1]}
    assert still_ours(database, other.lease, ids) == set()


def test_postgres_is_asked_once_a_second_at_most_and_its_absence_stops_nothing(database, four, monkeypatch):
    asked, now = [], [0.0]

    def away(engine, lease, ids):
        asked.append(now[0])
        raise Unavailable("away")

    batch = claim(database, 4)
    ours = Ours(database, batch, leave=False, clock=lambda: now[0])
    monkeypatch.setattr(leases, "still_ours", lambda *given: asked.append(now[0]) or still_ours(*given))
    for now[0] in (0.0, 0.5, 1.5, 2.0, 2.6):
        assert all(ours.has(ticket.id) for ticket in batch.tickets)
    assert asked == [1.5, 2.6]
    monkeypatch.setattr(leases, "still_ours", away)
    now[0] = 4.0
    assert ours.has(batch.tickets[0].id)
    assert asked[-1] == 4.0


@pytest.mark.parametrize(
    ("kind", "url", "elsewhere"),
    [
        ("llamacpp", None, False),
        ("linear", None, False),
        ("ollama", None, False),
        ("ollama", "http://localhost:11434", False),
        ("ollama", "http://[::1]:11434", False),
        ("ollama", "http://10.0.0.7:11434", True),
        ("openai", "http://127.0.0.1:8000/v1", False),
        ("openai", "https://api.example.com/v1", True),
    ],
)
def test_an_llm_at_another_address_is_elsewhere(kind, url, elsewhere):
    given = {} if url is None else {"url": url}
    assert _elsewhere(EngineConfig(kind=kind, **given)) is elsewhere
