"""doctor explains each state in which tickets are classified later, or not as they should be, and says what to do."""

import json
import re
import sys

import pytest
import structlog
from processes import eventually

from service.experiments.rollups.roll import ROLLING

BREAKER = "Ollama failed 5 times in a row for primary: away."
SPENT = "The engine cloud has spent its 5 of today: it is asked again after midnight UTC"


@pytest.fixture
def says(stored, client, monkeypatch):
    """What doctor says of one thing, with the API of the test running: whether it is well, and the sentence."""
    monkeypatch.setenv("TRIAGE_PORT", str(client.base_url.port))

    def run(what):
        lines = {line["what"]: line for line in json.loads(stored("doctor", "--json").out)}
        return lines[what]["ok"], lines[what]["says"]

    return run


@pytest.fixture
def worker(sql):
    def beats(**primary):
        sql("INSERT INTO workers (id, host, pid, llms) VALUES (gen_random_uuid(), 'h', 1, %s)",
            json.dumps({"primary": {"error": None, "breaker": None} | primary}))  # fmt: skip

    return beats


def test_all_is_well(says, worker):
    worker()
    assert says("API")[0]
    assert says("queue") == (True, "0 of 100000 tickets wait")


def test_a_triage_yaml_that_was_changed_after_the_start(says, worker, tmp_path):
    worker()
    file = tmp_path / "triage.yaml"
    file.write_text("# by its meaning, not its comments\n" + file.read_text())
    assert says("API")[0]
    file.write_text(re.sub(r"escalate_below: [0-9.]+", "escalate_below: 0.123", file.read_text()))
    ok, told = says("API")
    assert (ok, "restart it" in told) == (False, True)


def test_a_report_that_nobody_counts(says, sql):
    sql("SELECT pg_advisory_lock(%s)", ROLLING)  # so that the API does not count meanwhile
    assert says("report") == (True, "changes in 0 hours wait to be counted")
    sql("INSERT INTO stale_hours (hour, at) VALUES ('2020-01-31', now() - interval '5 hours')")
    assert says("report") == (True, "changes in 1 hour wait to be counted")
    sql("UPDATE stale_hours SET at = now() - interval '7 hours'")
    ok, told = says("report")
    assert not ok
    assert told.startswith("Changes in 1 hour are not counted for 7 hours. The API process counts them: start it")


def test_no_worker(says):
    assert says("API") == (False, "No worker is running: tickets are taken and wait.")


def test_a_postgres_that_takes_no_tickets(says, client, worker, sql):
    worker()
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # the API's lines are none of doctor's
    sql("""CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'full' USING ERRCODE = 'disk_full'; END $$""")
    sql("CREATE TRIGGER full_disk BEFORE INSERT ON tickets EXECUTE FUNCTION full_disk()")
    assert client.post("/v1/tickets", json={"body": "refused"}).status_code == 503
    assert says("API") == (False, "Postgres takes no tickets: its disk is full.")
    sql("DROP FUNCTION full_disk CASCADE")
    eventually(lambda: says("API")[0])


def test_a_postgres_that_only_reads(says, sql):
    ((name,),) = sql("SELECT current_database()")
    sql(f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    told = (False, "Postgres takes no tickets: it only reads at the moment.")
    assert (says("Postgres"), says("API")) == (told, told)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        ({"error": "no GGUF file"}, "The llm primary is not loaded: no GGUF file"),
        ({"breaker": BREAKER}, f"The llm primary is not asked at the moment: {BREAKER}"),
        ({"breaker": SPENT}, f"The llm primary is not asked at the moment: {SPENT}"),
    ],
)
def test_an_llm_that_cannot_be_asked(says, worker, state, sentence):
    worker(**state)
    ok, told = says("API")
    assert (ok, sentence in told) == (False, True)


def test_redis_away(says, monkeypatch):
    monkeypatch.setenv("TRIAGE_REDIS_URL", "redis://127.0.0.1:9/0")
    assert says("Redis") == (
        False, "Redis does not answer: tickets are still taken, each classified a few seconds later."
    )  # fmt: skip


def test_a_queue_near_its_limit(says, client, monkeypatch):
    tickets = [{"body": str(number)} for number in range(8)]
    assert client.post("/v1/tickets/batch", json={"tickets": tickets}).status_code == 202
    monkeypatch.setenv("TRIAGE_QUEUE_LIMIT", "11")
    assert says("queue") == (True, "8 of 11 tickets wait")
    monkeypatch.setenv("TRIAGE_QUEUE_LIMIT", "10")
    ok, told = says("queue")
    assert not ok
    assert told.startswith("8 tickets wait, and at 10 new ones get 429: start another triage worker")
