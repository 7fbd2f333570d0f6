"""GET /metrics says what Postgres says: queue, workers, and everything that workers counted."""

import json
import re
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client import parser
from prometheus_client.openmetrics import parser as openmetrics

from models.db import make_engine, transaction
from models.errors import TicketRejected
from service.experiments.rollups.roll import lag, roll
from service.tickets.backlog import backlog
from workers.claim import claim
from workers.engines.base import Timings
from workers.engines.llamacpp import LlamaCpp
from workers.figures import Figures
from workers.runtime import Runtime

README = Path(__file__).resolve().parents[2] / "README.md"
PARTS = ("call", "slot", "load", "prefill", "decode")
BODIES = [f"question {i} about my card" for i in range(12)] + ["", "I want a refund", "tell me a joke", "money please"]


def post(client, bodies):
    answer = client.post("/v1/tickets/batch", json={"tickets": [{"body": body} for body in bodies]})
    assert answer.status_code == 202


def scrape(client):
    """Every family by its name."""
    answer = client.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {family.name: family for family in parser.text_string_to_metric_families(answer.text)}


def values(families, name, *by):
    """The samples of one name, added up by these labels."""
    found = {}
    family = families[max((known for known in families if name.startswith(known)), key=len)]
    for sample in family.samples:
        if sample.name == name:
            key = tuple(sample.labels[label] for label in by)
            found[key] = found.get(key, 0) + sample.value
    return found


def value(families, name):
    return values(families, name)[()]


@pytest.fixture
def worker(loaded, tmp_path):
    """Makes workers that do only what they are told to."""
    with ExitStack() as stack:

        def make(name):
            runtime = Runtime(loaded, tmp_path / name)
            stack.callback(runtime.close)
            assert runtime.llms.load()
            return runtime

        yield make


@pytest.fixture
def heartbeat(sql):
    """Writes the row of a worker that is not there."""

    def write(llms=None, figures=None, host="h", age="0 seconds"):
        sql("INSERT INTO workers (id, host, pid, llms, figures, seen_at)"
            " VALUES (%s, %s, 1, %s, %s, now() - %s::interval)",
            uuid4(), host, json.dumps(llms or {}), json.dumps(figures or {}), age)  # fmt: skip

    return write


def grouped(sql, statement):
    return {tuple(key): n for *key, n in sql(statement)}


ANSWERS = " FROM predictions p JOIN llm_versions v ON v.id = p.llm_version_id "


def assert_recount(families, sql):
    """Every figure is that of the tables."""
    labels = ("llm", "role", "reason")
    assert values(families, "triage_answers_total", *labels) == grouped(
        sql, f"SELECT v.name, role, reason, count(*) {ANSWERS} GROUP BY 1, 2, 3"
    )
    for name, column in (("triage_prompt_tokens", "prompt_tokens"), ("triage_cached_prompt_tokens", "cached_tokens")):
        recount = grouped(sql, f"SELECT v.name, sum({column}) {ANSWERS} GROUP BY 1")
        assert values(families, f"{name}_total", "llm") == recount
    for part in PARTS:
        recount = f"SELECT v.name, %s {ANSWERS} WHERE {part}_ms IS NOT NULL GROUP BY 1"
        assert_histogram(families, sql, f"triage_llm_{part}_seconds", recount, f"{part}_ms", "llm")
    assert values(families, "triage_decisions_total", "field", "action") == grouped(
        sql, "SELECT field, action, count(*) FROM triages GROUP BY 1, 2"
    )
    for name in ("wait", "time_to_label"):
        assert_histogram(families, sql, f"triage_ticket_{name}_seconds", "SELECT %s FROM triages", f"{name}_ms")


def assert_histogram(families, sql, name, recount, column, *by):
    assert values(families, f"{name}_count", *by) == grouped(sql, recount % "count(*)")
    assert values(families, f"{name}_sum", *by) == pytest.approx(grouped(sql, recount % f"sum({column}) / 1000"))
    buckets = values(families, f"{name}_bucket", *by, "le")
    edges = {le for *_, le in buckets}
    assert len(edges) > 10
    for edge in edges:
        below = f"count(*) FILTER (WHERE {column} / 1000 <= '{edge.replace('+Inf', 'Infinity')}'::float8)"
        found = {tuple(key): n for (*key, le), n in buckets.items() if le == edge}
        assert found == grouped(sql, recount % below)


def test_every_figure_of_two_workers_is_a_count_of_rows(client, worker, sql):
    one, other = worker("one"), worker("other")
    for runtime, bodies in ((one, BODIES), (other, BODIES[-4:])):
        post(client, bodies)
        sql("UPDATE tickets SET shadow = (body LIKE 'question%%') WHERE status = 'queued'")
        runtime.drain.run()
        runtime.beat()
    families = scrape(client)
    assert value(families, "triage_answers_total") >= len(BODIES) * 1.5
    assert_recount(families, sql)
    by_worker = values(families, "triage_ticket_wait_seconds_count", "worker_id")
    assert by_worker == {(str(one.id),): len(BODIES), (str(other.id),): 4}
    assert value(families, "triage_workers") == 2
    assert set(values(families, "triage_llm_loaded", "llm", "worker_id").values()) == {1}
    assert set(values(families, "triage_llm_breaker_open", "llm", "worker_id").values()) == {0}
    assert set(values(families, "triage_llm_in_flight", "llm", "worker_id").values()) == {0}


def test_figures_last_until_the_next_heartbeat_and_never_go_back(client, worker, sql):
    runtime = worker("one")
    post(client, BODIES[:2])
    runtime.drain.run()
    runtime.beat()
    before = values(scrape(client), "triage_answers_total", "llm", "role", "reason", "worker", "worker_id")
    post(client, BODIES[:2])
    runtime.drain.run()
    again = values(scrape(client), "triage_answers_total", "llm", "role", "reason", "worker", "worker_id")
    assert again == before
    runtime.beat()
    assert_recount(scrape(client), sql)


def test_the_queue_is_read_at_the_moment_of_the_scrape(client, sql):
    families = scrape(client)
    assert value(families, "triage_queue_depth") == value(families, "triage_queue_oldest_seconds") == 0
    post(client, BODIES[:5])
    sql("UPDATE tickets SET queued_at = now() - interval '2 hours' WHERE body LIKE '%% 3 %%'")
    sql("UPDATE tickets SET status = 'working', lease_id = id, lease_until = now() WHERE body LIKE '%% 4 %%'")
    age = "SELECT extract(epoch FROM clock_timestamp() - min(queued_at))::float8 FROM tickets WHERE status = 'queued'"
    ((earlier,),) = sql(age)
    families = scrape(client)
    ((later,),) = sql(age)
    assert earlier <= value(families, "triage_queue_oldest_seconds") <= later
    assert value(families, "triage_queue_depth") == 4
    assert value(families, "triage_tickets_working") == 1
    assert value(families, "triage_queue_limit") == 100_000
    assert value(families, "triage_taxonomy_version") == 1


def test_a_queue_above_its_limit_is_not_counted_to_its_end(client, database):
    post(client, BODIES[:5])
    with transaction(database) as session:
        assert backlog(session, 2)["waiting"] == 3
        assert backlog(session, 5)["waiting"] == 5


def test_tickets_that_failed_are_counted_by_what_failed_them(client, worker, sql, database, monkeypatch):
    real = LlamaCpp.score

    def score(engine, llm, prompt, codes):
        if "joke" in prompt:
            raise TicketRejected("It is no question.")
        return real(engine, llm, prompt, codes)

    monkeypatch.setattr(LlamaCpp, "score", score)
    runtime = worker("one")
    post(client, ["my card", "tell me a joke"])
    sql("UPDATE tickets SET attempts = 4")
    runtime.drain.run()
    post(client, ["lost once", "lost again", "lost again"])
    sql("UPDATE tickets SET lost_leases = 2, priority = 0 WHERE body = 'lost again'")
    taken = [claim(database, 10) for _ in range(3)]
    assert [len(batch.tickets) for batch in taken] == [1, 1, 1]
    sql("UPDATE tickets SET lease_until = now() - interval '1 second' WHERE status = 'working'")
    runtime.drain.sweep()
    runtime.beat()
    families = scrape(client)
    reasons = {("attempts",): 1, ("workers",): 2}
    assert sql("SELECT count(*) FROM tickets WHERE status = 'failed'") == [(sum(reasons.values()),)]
    assert value(families, "triage_tickets_failed") == 3
    assert values(families, "triage_tickets_given_up_total", "reason") == reasons
    assert value(families, "triage_leases_expired_total") == 3
    assert value(families, "triage_attempts_refused_total") == value(families, "triage_queue_depth") == 1


def test_a_lease_that_a_claim_finds_expired_is_counted_too(client, worker, sql, database):
    runtime = worker("one")
    post(client, BODIES[:1])
    assert claim(database, 1).tickets
    sql("UPDATE tickets SET lease_until = now() - interval '1 second'")
    runtime.drain.run()
    runtime.beat()
    families = scrape(client)
    assert value(families, "triage_leases_expired_total") == 1
    assert values(families, "triage_tickets_given_up_total", "reason") == {("attempts",): 0, ("workers",): 0}
    assert sql("SELECT status FROM tickets") == [("done",)]


def test_failed_is_what_can_be_queued_again_up_to_a_bound(client, sql, monkeypatch):
    post(client, BODIES[:5])
    sql("UPDATE tickets SET status = 'failed' WHERE body LIKE 'question%%'")
    assert value(scrape(client), "triage_tickets_failed") == 5
    ((one,),) = sql("SELECT id FROM tickets LIMIT 1")
    assert client.delete(f"/v1/tickets/{one}").status_code == 200
    assert value(scrape(client), "triage_tickets_failed") == 4
    monkeypatch.setattr("service.tickets.backlog.MOST_FAILED", 3)
    assert value(scrape(client), "triage_tickets_failed") == 3


@pytest.fixture
def nobody_counts(monkeypatch):
    """The API process leaves the counts of reports to the test."""
    monkeypatch.setattr("service.experiments.rollups.roller.PAUSE_S", 3600.0)


def test_how_far_reports_are_behind(nobody_counts, client, sql, database, monkeypatch):
    post(client, BODIES[:5])
    sql("UPDATE tickets SET received_at = received_at - interval '3 hours' WHERE body LIKE '%% 3 %%'")
    age = "SELECT extract(epoch FROM clock_timestamp() - min(at))::float8, count(DISTINCT hour) FROM stale_hours"
    ((earlier, hours),) = sql(age)
    families = scrape(client)
    assert earlier <= value(families, "triage_report_behind_seconds") <= sql(age)[0][0]
    assert value(families, "triage_report_behind_hours") == hours == 2
    monkeypatch.setattr("service.experiments.rollups.roll.MARKS", 1)
    with transaction(database) as session:
        assert lag(session)["behind_hours"] == 1
        assert lag(session)["behind_s"] >= earlier
    assert roll(database, 60.0)
    families = scrape(client)
    assert value(families, "triage_report_behind_seconds") == value(families, "triage_report_behind_hours") == 0


@pytest.fixture
def figures():
    """What a worker may have counted."""
    made = Figures()
    made.answered("primary", "primary", "assigned", [Timings(3.5, 0.5, 0.0, 2.0, 1.0, 40, 30)])
    made.labelled(10.0, 20.0)
    made.decisions.labels("category", "suggest").inc()
    with made.asking("primary"):
        return made.dump()


def test_a_part_that_no_engine_reported_has_no_series():
    made = Figures()
    made.answered("linear", "primary", "assigned", [Timings(3.5), Timings(4.5)])
    found = made.dump()
    seen = {name for name in found if name.startswith("triage_llm_") and found[name]["type"] == "histogram"}
    assert {name for name in seen if found[name]["samples"]} == {"triage_llm_call_seconds"}
    assert ["triage_llm_call_seconds_count", {"llm": "linear"}, 2.0] in found["triage_llm_call_seconds"]["samples"]


def test_every_family_says_what_it_is(client, heartbeat, figures):
    heartbeat({"primary": {"error": None, "breaker": None}}, figures)
    text = client.get("/metrics").text
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")]
    assert len(names) == len(set(names)) >= 20
    for line in text.splitlines():
        kind, name, rest = line.removeprefix("# ").split(" ", 2) if line.startswith("# ") else ("", line, "")
        assert name.startswith("triage_")
        assert kind == "" or rest
    assert {line.split()[2] for line in text.splitlines() if line.startswith("# HELP ")} == set(names)


@pytest.mark.parametrize(
    ("accept", "content_type", "read"),
    [
        (None, "text/plain; version=0.0.4; charset=utf-8", parser),
        ("text/plain;version=1.0.0", "text/plain; version=1.0.0; charset=utf-8; escaping=underscores", parser),
        ("application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0", openmetrics),
    ],
)
def test_it_is_what_the_scraper_asks_for(client, heartbeat, figures, accept, content_type, read):
    heartbeat({"primary": {"error": None, "breaker": None}}, figures)
    answer = client.get("/metrics", headers={"Accept": accept} if accept else {})
    assert answer.headers["content-type"].startswith(content_type)
    families = {family.name: family for family in read.text_string_to_metric_families(answer.text)}
    assert value(families, "triage_answers_total") == value(families, "triage_llm_in_flight") == 1
    assert value(families, "triage_llm_prefill_seconds_sum") == 0.002


def test_a_worker_of_the_former_release_and_one_that_is_gone(client, heartbeat):
    heartbeat({"primary": {"error": None}, "fallback": {"error": "no file"}})
    heartbeat({"primary": {"error": None}}, host="gone", age="16 seconds")
    families = scrape(client)
    assert value(families, "triage_workers") == 1
    assert values(families, "triage_llm_loaded", "worker", "llm") == {("h:1", "primary"): 1, ("h:1", "fallback"): 0}
    assert set(values(families, "triage_llm_breaker_open", "llm").values()) == {0}
    assert set(values(families, "triage_worker_heartbeat_age_seconds", "worker")) == {("h:1",)}
    assert "triage_answers" not in families
    assert client.get("/readyz", headers={"Authorization": ""}).json()["missing"] == [
        "The llm fallback is not loaded: no file"
    ]


def test_a_worker_of_the_next_release_brings_figures_unknown_here(client, heartbeat):
    told = {"type": "counter", "help": "What is not known yet.", "samples": [["triage_new_total", {"llm": "a"}, 3.0]]}
    heartbeat(figures={"triage_new": told})
    heartbeat(figures={"triage_new": told}, host="i")
    assert values(scrape(client), "triage_new_total", "llm") == {("a",): 6}


def test_label_values_are_escaped(client, heartbeat):
    odd = 'a"b\\c\nd{}, e="f" é'
    told = {"type": "gauge", "help": "Two\nlines \\ and more.", "samples": [["triage_odd", {"llm": odd}, 1.5]]}
    heartbeat({odd: {"error": None}}, {"triage_odd": told}, host=odd)
    families = scrape(client)
    assert values(families, "triage_odd", "llm", "worker") == {(odd, f"{odd}:1"): 1.5}
    assert values(families, "triage_llm_loaded", "llm", "worker") == {(odd, f"{odd}:1"): 1}


def test_it_needs_a_key_that_may_read_reports(client, new_key):
    for authorization, status in (("", 401), ("Bearer wrong", 401)):
        assert client.get("/metrics", headers={"Authorization": authorization}).status_code == status
    for scope, status in (("tickets:read", 403), ("reports:read", 200)):
        answer = client.get("/metrics", headers={"Authorization": f"Bearer {new_key(scope)}"})
        assert answer.status_code == status
    assert "triage_queue_depth" in answer.text


def test_with_postgres_away_it_is_503(client, monkeypatch):
    away = make_engine("postgresql://nobody@127.0.0.1:1/none")
    monkeypatch.setattr("service.api.metrics.transaction", lambda engine: transaction(away))
    answer = client.get("/metrics")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_readme_names_every_family(client, heartbeat, figures):
    heartbeat({"primary": {"error": None}}, figures)
    told = {line.split()[2] for line in client.get("/metrics").text.splitlines() if line.startswith("# TYPE")}
    assert set(re.findall(r"`(triage_\w+)`", README.read_text())) == told
