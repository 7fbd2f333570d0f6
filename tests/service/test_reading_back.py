"""GET tickets, taxonomy, llms: what was stored is what is shown, page by page and filter by filter."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from serving import draining

CARD = {"body": "My card has not arrived yet", "external_id": "1", "source": "crm"}


@pytest.fixture
def classified(client, drain):
    """Three tickets from two sources, classified."""
    others = [{"body": "I want a refund", "external_id": "2"}, {"body": "tell me a joke", "source": "chat"}]
    ids = [client.post("/v1/tickets", json=given).json()["id"] for given in (CARD, *others)]
    drain.run()
    return ids


def test_a_ticket_comes_back_with_everything_said_of_it(client, classified):
    found = client.get(f"/v1/tickets/{classified[0]}").json()
    assert found["status"] == "done"
    assert (found["body"], found["source"], found["external_id"]) == (CARD["body"], "crm", "1")
    (triage,) = found["triage"]
    assert triage["label"] == "card_delivery_and_activation"
    assert 0 < triage["confidence"] <= 1
    assert triage["wait_ms"] <= triage["time_to_label_ms"]
    primary, shadow = found["predictions"]
    assert (primary["role"], shadow["role"]) == ("primary", "shadow")
    assert (primary["reason"], shadow["reason"]) == ("assigned", "shadow")
    assert primary["shadow_rate"] == shadow["shadow_rate"] == found["shadow_rate"] == 1.0
    assert primary["digest"] != shadow["digest"]
    for prediction in (primary, shadow):
        assert sum(prediction["scores"].values()) == pytest.approx(1)
        assert prediction["scores"][prediction["label"]] == prediction["confidence"]
        assert 0 < prediction["label_mass"] <= 1
        assert prediction["scores_complete"] is True
        assert prediction["call_ms"] >= prediction["prefill_ms"] > 0
        assert prediction["prompt_tokens"] >= prediction["cached_tokens"]


def test_an_unknown_ticket_is_404_and_no_id_is_422(client):
    assert client.get(f"/v1/tickets/{uuid4()}").status_code == 404
    assert client.get("/v1/tickets/nonsense").status_code == 422


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("status=done", [2, 1, 0]),
        ("status=queued", []),
        ("source=crm", [0]),
        ("source=api&status=done", [1]),
        ("external_id=2", [1]),
        ("label=card_delivery_and_activation", [0]),
        ("label=refunds", [1]),
        ("label=nonsense", []),
    ],
)
def test_filters(client, classified, query, expected):
    items = client.get(f"/v1/tickets?{query}").json()["items"]
    assert [item["id"] for item in items] == [classified[i] for i in expected]


def test_since_is_inclusive_and_until_exclusive(client, classified):
    times = {item["id"]: item["received_at"] for item in client.get("/v1/tickets").json()["items"]}
    middle = times[classified[1]]
    since = client.get("/v1/tickets", params={"since": middle}).json()["items"]
    until = client.get("/v1/tickets", params={"until": middle}).json()["items"]
    assert [item["id"] for item in since] == [classified[2], classified[1]]
    assert [item["id"] for item in until] == [classified[0]]


def test_pages_show_every_ticket_once_even_at_equal_times(client, sql):
    client.post("/v1/tickets/batch", json={"tickets": [{"body": str(i)} for i in range(25)]})
    assert sql("SELECT count(DISTINCT received_at) FROM tickets") == [(1,)]
    seen, cursor, pages = [], None, 0
    while pages == 0 or cursor:
        page = client.get("/v1/tickets", params={"limit": 10} | ({"cursor": cursor} if cursor else {})).json()
        seen += [item["body"] for item in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert pages == 3
    assert sorted(seen, key=int) == [str(i) for i in range(25)]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("limit=0", "limit: input should be greater than or equal to 1"),
        ("limit=501", "limit: input should be less than or equal to 500"),
        ("status=lost", "status: input should be 'queued', 'working', 'done' or 'failed'"),
        ("colour=red", "colour: unknown key"),
        ("since=now", "since: must be a time with its zone"),
        ("since=2026-01-31T12:00:00", "since: must be a time with its zone"),
        ("since=2026", "since: must be a time with its zone, such as 2026-01-31T12:00:00Z"),
        ("until=-5", "until: must be a time with its zone"),
        ("until=1.5", "until: must be a time with its zone"),
        ("since=20261122", "since: must be a time with its zone"),
        ("since=1767225600", "since: must be a time with its zone"),
        ("since=2026-11-22", "since: must be a time with its zone"),
        ("cursor=abc", "cursor"),
        ("cursor=%ff", "cursor"),
        ("source=%00", "source: must not contain NUL"),
        ("source=", "source: must not be empty; leave it out"),
        ("label=", "label: must not be empty; leave it out"),
        ("cursor=", "cursor: must not be empty; leave it out"),
        ("q=", "q: must hold a word"),
        ("q=%20", "q: must hold a word"),
    ],
)
def test_wrong_filters_are_422_and_named(client, query, told):
    answer = client.get(f"/v1/tickets?{query}")
    assert answer.status_code == 422
    assert told in answer.json()["detail"]


def test_what_is_no_id_is_said_and_not_repeated(client):
    answer = client.get("/v1/tickets/nonsense")
    assert answer.status_code == 422
    assert "ticket_id: must be an id such as" in answer.json()["detail"]
    assert "nonsense" not in answer.json()["detail"]


def test_taxonomy_and_llms(client, classified):
    taxonomy = client.get("/v1/taxonomy").json()
    assert taxonomy["version"] == 1
    assert [label["id"] for label in taxonomy["fields"]["category"]["labels"]][-1] == "other"
    llms = client.get("/v1/llms").json()["items"]
    assert {llm["policy_role"] for llm in llms} == {"primary", "fallback"}
    assert all(llm["demo"] and len(llm["digest"]) == 64 for llm in llms)


def test_times_are_utc(client, classified):
    received = client.get(f"/v1/tickets/{classified[0]}").json()["received_at"]
    assert received.endswith("Z")
    assert abs(datetime.fromisoformat(received) - datetime.now(UTC)) < timedelta(minutes=5)


def test_wait_gives_the_whole_ticket(client, drain):
    with draining(drain):
        answer = client.post("/v1/tickets?wait=20", json={"body": "I want a refund"})
    assert answer.status_code == 200
    assert answer.json()["triage"][0]["label"] == "refunds"


def test_wait_with_the_worker_down_ends_with_202_and_the_ticket_is_classified_later(client, drain, sql):
    given = {"json": {"body": "I want a refund"}, "headers": {"Idempotency-Key": "k"}}
    answer = client.post("/v1/tickets?wait=0.3", **given)
    assert (answer.status_code, answer.json()["status"]) == (202, "queued")
    drain.run()
    again = client.post("/v1/tickets?wait=20", **given)
    assert (again.status_code, again.json()["id"], again.json()["status"]) == (200, answer.json()["id"], "done")
    assert sql("SELECT label FROM triages") == [("refunds",)]


def test_nobody_waits_longer_than_half_a_minute(client):
    assert client.post("/v1/tickets?wait=31", json={"body": "a"}).status_code == 422
