"""A new run keeps the old one visible; a failed ticket gets its attempts back; nothing else is disturbed."""

from uuid import uuid4

import pytest


@pytest.fixture
def ticket(client, drain):
    found = client.post("/v1/tickets", json={"body": "I want a refund"}).json()
    drain.run()
    return found


def test_reclassify_opens_a_run_and_keeps_the_older_ones(client, drain, ticket, sql):
    answer = client.post(f"{ticket['url']}/reclassify")
    assert (answer.status_code, answer.json()) == (202, ticket | {"run": 2})
    waiting = client.get(ticket["url"]).json()
    assert (waiting["status"], [t["run"] for t in waiting["triage"]]) == ("queued", [1])
    assert client.post(f"{ticket['url']}/reclassify").json()["run"] == 2  # it waits already
    drain.run()
    whole = client.get(ticket["url"]).json()
    assert [t["run"] for t in whole["triage"]] == [2, 1]
    assert sorted(p["run"] for p in whole["predictions"]) == [1, 1, 2, 2]
    assert sql("SELECT run, newest FROM triages ORDER BY run") == [(1, False), (2, True)]
    assert sql("SELECT count(*) FROM revisions") == [(0,)]


def test_a_verdict_on_the_same_text_counts_for_its_new_run(client, drain, ticket):
    verdict = {"field": "category", "label": "refunds", "source": "dataset"}
    client.post(f"{ticket['url']}/verdicts", json=verdict)
    client.post(f"{ticket['url']}/reclassify")
    drain.run()
    assert client.get("/v1/report").json()["cascade"]["accuracy"][0]["n"] == 1


def test_requeue_is_for_failed_tickets(client, drain, ticket, sql):
    assert client.post(f"{ticket['url']}/requeue").json()["status"] == "done"
    sql("UPDATE tickets SET status = 'failed', attempts = 5, lost_leases = 3, last_error = 'x'")
    sql("DELETE FROM predictions")
    sql("DELETE FROM triages")
    assert client.post(f"{ticket['url']}/requeue").json() == ticket | {"run": 1}
    assert sql("SELECT status, attempts, lost_leases, last_error FROM tickets") == [("queued", 0, 0, None)]
    drain.run()
    assert sql("SELECT status FROM tickets") == [("done",)]


@pytest.mark.parametrize("verb", ["reclassify", "requeue"])
def test_of_no_ticket_is_404(client, verb):
    assert client.post(f"/v1/tickets/{uuid4()}/{verb}").status_code == 404
