"""Verdicts are kept, never overwritten; the report's figures equal a recount by hand."""

import dataclasses
from collections import Counter

import pytest
from serving import with_policy

from models.errors import EngineDown
from service.experiments import report
from service.experiments.assignment import implied
from service.experiments.report import EXHAUSTIVE
from workers.llm import Llm

LABELS = ("refunds", "top_up", "transfers")
BODIES = (
    "I want a refund",
    "my top up failed",
    "how long does a transfer take",
    "tell me a joke",
    "why was I charged",
    "money please",
)


def judge(client, ticket_id, label, source="dataset", **more):
    given = {"field": "category", "label": label, "source": source} | more
    return client.post(f"/v1/tickets/{ticket_id}/verdicts", json=given)


@pytest.fixture
def tickets(client, drain):
    """Six classified tickets: all shadowed, since the demo's rate is 1."""
    given = {"tickets": [{"body": body} for body in BODIES]}
    ids = [item["id"] for item in client.post("/v1/tickets/batch", json=given).json()["items"]]
    drain.run()
    return [client.get(f"/v1/tickets/{ticket_id}").json() for ticket_id in ids]


def test_a_verdict_is_201_and_the_same_again_200(client, tickets, sql):
    ticket_id = tickets[0]["id"]
    first = judge(client, ticket_id, "refunds", author="Ana")
    again = judge(client, ticket_id, "refunds")
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert judge(client, ticket_id, "top_up").status_code == 201
    assert judge(client, ticket_id, "refunds").status_code == 201  # back to what it was: a change too
    assert judge(client, ticket_id, "refunds", source="review").status_code == 201
    rows = sql("SELECT label, source, author, taxonomy_version FROM verdicts ORDER BY id")
    assert rows == [
        ("refunds", "dataset", "Ana", 1),
        ("top_up", "dataset", None, 1),
        ("refunds", "dataset", None, 1),
        ("refunds", "review", None, 1),
    ]
    assert [v["label"] for v in client.get(f"/v1/tickets/{ticket_id}").json()["verdicts"]] == [r[0] for r in rows]


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ({"field": "category", "label": "nonsense"}, 422),
        ({"field": "colour", "label": "refunds"}, 422),
        ({"field": "category"}, 422),
        ({"field": "category", "label": "refunds", "source": "rumour"}, 422),
        ({"field": "category", "label": "refunds", "x": 1}, 422),
        ({"field": "category", "label": "refunds", "author": "a\0"}, 422),
        ([], 422),
    ],
)
def test_wrong_verdicts_are_refused(client, tickets, sql, given, status):
    assert client.post(f"/v1/tickets/{tickets[0]['id']}/verdicts", json=given).status_code == status
    assert sql("SELECT count(*) FROM verdicts") == [(0,)]


def test_a_verdict_on_no_ticket_is_404(client):
    assert judge(client, "01a1feef-60f3-7010-b789-e50222ae6516", "refunds").status_code == 404


def by_llm(ticket, name):
    return next(p for p in ticket["predictions"] if p["llm"] == name)


def test_accuracy_is_a_recount(client, tickets):
    truths = [LABELS[i % 3] for i in range(len(tickets))]
    for ticket, truth in zip(tickets, truths, strict=True):
        judge(client, ticket["id"], "account_settings")  # superseded: must not count
        judge(client, ticket["id"], truth)
    report = client.get("/v1/report").json()
    for llm in report["llms"]:
        right = sum(by_llm(t, llm["llm"])["label"] == truth for t, truth in zip(tickets, truths, strict=True))
        (accuracy,) = llm["accuracy"]
        assert (accuracy["source"], accuracy["n"], accuracy["successes"]) == ("dataset", len(tickets), right)
        assert accuracy["low"] <= accuracy["value"] <= accuracy["high"]
        confidences = [by_llm(t, llm["llm"])["confidence"] for t in tickets]
        assert llm["mean_confidence"] == pytest.approx(sum(confidences) / len(confidences))
        assert llm["times"]["call_ms"]["n"] == len(tickets)
    decided = [t["triage"][0]["label"] for t in tickets]
    (cascade,) = report["cascade"]["accuracy"]
    assert cascade["successes"] == sum(a == b for a, b in zip(decided, truths, strict=True))
    escalated = sum(p["role"] == "fallback" for t in tickets for p in t["predictions"])
    assert report["cascade"]["escalated"]["successes"] == escalated
    (pair,) = report["pair"]
    only_a = sum(
        by_llm(t, "primary")["label"] == truth != by_llm(t, "fallback")["label"]
        for t, truth in zip(tickets, truths, strict=True)
    )
    assert (pair["n"], pair["only_a"]) == (len(tickets), only_a)


@pytest.mark.parametrize("reason", ["escalated", "failure"])
def test_an_answer_that_was_asked_for_because_another_was_unsure_or_silent_compares_nothing(
    client, tickets, sql, reason
):
    for ticket in tickets:
        judge(client, ticket["id"], "refunds")
    one = "ticket_id = %s AND reason = 'shadow'"
    sql(f"UPDATE predictions SET reason = %s, role = 'fallback' WHERE {one}", reason, tickets[0]["id"])
    report = client.get("/v1/report").json()
    assert report["pair"][0]["n"] == len(tickets) - 1
    assert report["cascade"]["accuracy"][0]["n"] == len(tickets)
    ns = {llm["llm"]: llm["accuracy"][0]["n"] for llm in report["llms"]}
    assert ns == {"primary": len(tickets), "fallback": len(tickets) - 1}
    reasons = {llm["llm"]: {why: n for why, n in llm["reasons"].items() if n} for llm in report["llms"]}
    assert reasons == {"primary": {"assigned": 6}, "fallback": {"shadow": 5, reason: 1}}


def test_an_answer_of_the_coin_compares_also_where_it_was_needed_besides(client, tickets, sql):
    for ticket in tickets:
        judge(client, ticket["id"], "refunds")
    sql("UPDATE predictions SET role = 'fallback' WHERE reason = 'shadow'")
    assert client.get("/v1/report").json()["pair"][0]["n"] == len(tickets)


@pytest.mark.parametrize("source", ["review", "agent_change", "agent_final", "import"])
def test_corrections_are_a_count_and_a_rate_never_accuracy(client, tickets, source):
    assert source not in EXHAUSTIVE
    right = tickets[0]["triage"][0]["label"]
    judge(client, tickets[0]["id"], right, source)
    judge(client, tickets[1]["id"], "account_settings", source)
    report = client.get("/v1/report").json()
    assert report["pair"] == []
    assert [llm["accuracy"] for llm in report["llms"]] == [[], []]
    assert report["cascade"]["accuracy"] == []
    (row,) = report["corrections"]
    assert (row["source"], row["n"], row["changed"]["successes"]) == (source, 2, 1)


def test_a_report_over_nothing(client):
    report = client.get("/v1/report").json()
    assert report["tickets"]["received"] == 0
    assert (report["llms"], report["pair"], report["corrections"]) == ([], [], [])
    assert report["cascade"]["n"] == 0
    assert report["cascade"]["escalated"]["value"] is None


def test_the_window_of_a_report(client, tickets):
    assert client.get("/v1/report", params={"since": tickets[0]["received_at"]}).json()["tickets"]["received"] == 6
    assert client.get("/v1/report", params={"until": tickets[0]["received_at"]}).json()["tickets"]["received"] == 0
    assert client.get("/v1/report?since=soon").status_code == 422


def test_only_the_newest_run_counts(client, drain):
    client.post("/v1/tickets", json={"body": "I want a refund", "external_id": "1"})
    drain.run()
    client.post("/v1/tickets", json={"body": "my top up failed", "external_id": "1"})
    drain.run()
    ticket = client.get("/v1/tickets").json()["items"][0]
    whole = client.get(ticket["url"]).json()
    assert [t["run"] for t in whole["triage"]] == [2, 1]
    assert len(whole["predictions"]) == 4
    report = client.get("/v1/report").json()
    assert [llm["n"] for llm in report["llms"]] == [1, 1]
    assert report["cascade"]["n"] == 1


def test_a_verdict_on_an_old_text_says_nothing_of_the_new_one(client, drain):
    ticket = client.post("/v1/tickets", json={"body": "I want a refund", "external_id": "1"}).json()
    drain.run()
    judge(client, ticket["id"], "refunds")
    client.post("/v1/tickets", json={"body": "my top up failed", "external_id": "1"})
    drain.run()
    assert client.get("/v1/report").json()["cascade"]["accuracy"] == []
    judge(client, ticket["id"], "top_up")
    (accuracy,) = client.get("/v1/report").json()["cascade"]["accuracy"]
    assert (accuracy["n"], accuracy["successes"]) == (1, 1)


def test_the_pair_follows_the_llms_not_the_roles_they_have_today(client, tickets, database, loaded):
    for ticket in tickets:
        judge(client, ticket["id"], by_llm(ticket, "fallback")["label"])
    today = implied(loaded.config)
    tomorrow = dataclasses.replace(today, a=today.b, b=today.a)
    (ours,) = report.build(database, today, report.Window())["pair"]
    (swapped,) = report.build(database, tomorrow, report.Window())["pair"]
    assert ours["accuracy_b"]["value"] == swapped["accuracy_a"]["value"] == 1.0
    assert (ours["only_a"], ours["only_b"]) == (swapped["only_b"], swapped["only_a"])
    assert (ours["digest_a"], ours["digest_b"]) == (swapped["digest_b"], swapped["digest_a"])
    assert ours["digest_a"] == by_llm(tickets[0], "primary")["digest"]


def test_an_escalation_without_an_answer_is_an_escalation(client, drain, monkeypatch):
    drain.config = with_policy(drain.config, escalate_below=1.0, fallback="fallback")
    real = Llm.ask

    def ask(llm, *given):
        if llm.name == "fallback":
            raise EngineDown("away")
        return real(llm, *given)

    monkeypatch.setattr(Llm, "ask", ask)
    client.post("/v1/tickets", json={"body": "I want a refund"})
    drain.run()
    escalated = client.get("/v1/report").json()["cascade"]["escalated"]
    assert (escalated["successes"], escalated["n"]) == (1, 1)


def test_mean_confidence_is_of_the_tickets_that_accuracy_is_of(client, tickets, sql):
    one = "ticket_id = %s AND reason = 'shadow'"
    sql(f"UPDATE predictions SET reason = 'escalated' WHERE {one}", tickets[0]["id"])
    found = {llm["llm"]: llm for llm in client.get("/v1/report").json()["llms"]}
    rest = [by_llm(ticket, "fallback")["confidence"] for ticket in tickets[1:]]
    assert found["fallback"]["mean_confidence_n"] == len(rest)
    assert found["fallback"]["mean_confidence"] == pytest.approx(sum(rest) / len(rest))
    assert found["primary"]["mean_confidence_n"] == len(tickets)


def test_coverage_and_confusions_are_a_recount(client, tickets):
    truths = [LABELS[i % 3] for i in range(len(tickets))]
    for ticket, truth in zip(tickets, truths, strict=True):
        judge(client, ticket["id"], truth)
    for llm in client.get("/v1/report").json()["llms"]:
        said = [(by_llm(t, llm["llm"]), truth) for t, truth in zip(tickets, truths, strict=True)]
        surest = sorted(said, key=lambda pair: -pair[0]["confidence"])
        assert [point["n"] for point in llm["coverage"]] == [1, 2, 3, 4, 5, 6]
        for point in llm["coverage"]:
            part = surest[: point["n"]]
            assert point["successes"] == sum(p["label"] == truth for p, truth in part)
            least = part[-1][0]["confidence"]
            assert least - 0.1 * (1 - least) <= point["threshold"] <= least  # two digits of what it lacks
            assert point["coverage"] == pytest.approx(point["n"] / len(tickets))
        wrong = Counter((truth, p["label"]) for p, truth in said if p["label"] != truth)
        assert {(c["truth"], c["said"]): c["n"] for c in llm["confusions"]} == dict(wrong)
