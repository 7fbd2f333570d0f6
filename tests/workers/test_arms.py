"""Who is asked and why: stand-ins, coins, and the arms of experiments, with the real tiny llms."""

import pytest
from serving import serving, with_policy
from structlog.testing import capture_logs

from models.errors import EngineDown, TicketRejected
from service.config import ExperimentConfig
from service.experiments import assignment
from workers.llm import Llm

PEOPLE = [f"person {n}" for n in range(24)]
ARMS = {"a": {"primary": "primary"}, "b": {"primary": "fallback"}}


def with_experiment(config, **changes):
    line = {"name": "split-1", "mode": "split", **ARMS} | changes
    return config.model_copy(update={"experiments": [ExperimentConfig.model_validate(line)]})


@pytest.fixture
def split(loaded, drain, new_key, sql):
    """An API and a drain with an experiment that splits; posts two tickets of each requester, without coins."""

    def post(**changes):
        drain.config = with_experiment(drain.config, **changes)
        with serving(loaded.model_copy(update={"config": drain.config})) as client:
            client.headers["Authorization"] = f"Bearer {new_key('admin')}"
            tickets = [{"body": "I want a refund", "requester": who} for who in PEOPLE]
            assert client.post("/v1/tickets/batch", json={"tickets": tickets}).status_code == 202
            again = [{"body": "my top up failed", "requester": who} for who in PEOPLE]
            assert client.post("/v1/tickets/batch", json={"tickets": again}).status_code == 202
        sql("UPDATE tickets SET shadow = false")

    return post


@pytest.fixture
def away(monkeypatch):
    """Takes an llm away, or lets it fail otherwise."""

    def take(name, error=None):
        real = Llm.ask

        def ask(llm, *given):
            if llm.name == name:
                raise error or EngineDown("away")
            return real(llm, *given)

        monkeypatch.setattr(Llm, "ask", ask)

    return take


def test_a_requester_stays_in_one_arm_and_the_arm_serves(split, drain, sql):
    split()
    drain.run()
    rows = sql("""SELECT t.requester, t.experiment, t.arm, d.served_arm, d.llms FROM tickets t
                  JOIN triages d ON d.ticket_id = t.id""")
    assert len(rows) == 2 * len(PEOPLE)
    experiment = assignment.drawn(drain.config, "split-1")
    for who, name, arm, served, llms in rows:
        assert (name, arm, served) == ("split-1", experiment.arm(who), arm)
        assert llms == (["primary"] if arm == "a" else ["fallback"])
    assert {row[2] for row in rows} == {"a", "b"}
    assert sql("SELECT DISTINCT role, reason FROM predictions") == [("primary", "assigned")]


def test_an_arm_that_is_away_leaves_its_tickets_to_the_policy(split, drain, sql, away):
    split()
    away("fallback")
    drain.run()
    assert sql("SELECT DISTINCT status FROM tickets") == [("done",)]
    rows = sql("""SELECT DISTINCT t.arm, d.served_arm, d.llms, p.reason FROM tickets t
                  JOIN triages d ON d.ticket_id = t.id JOIN predictions p ON p.ticket_id = t.id ORDER BY 1""")
    # The policy would ask the fallback too where the primary is not sure; it is away there as well.
    assert rows == [("a", "a", ["primary"], "assigned"), ("b", None, ["primary"], "failure")]


@pytest.mark.parametrize(
    ("mode", "left"),
    [
        ("split", [("a", "queued", 1, "refused"), ("b", "queued", 0, "away")]),
        ("shadow", [(None, "queued", 1, "refused")] * 2),  # a shadow decides nothing: nobody waits for it
    ],
)
def test_what_the_policy_refuses_waits_while_the_arm_that_serves_it_is_away(split, drain, sql, away, mode, left):
    split(mode=mode)
    halves = assignment.drawn(with_experiment(drain.config, mode="split"), "split-1")
    one, other = (next(who for who in PEOPLE if halves.arm(who) == arm) for arm in "ab")
    sql("DELETE FROM tickets WHERE requester NOT IN (%s, %s) OR body <> 'I want a refund'", one, other)
    sql("UPDATE tickets SET shadow = true")
    drain.config = with_policy(drain.config, fallback=None)
    away("fallback")
    away("primary", TicketRejected("refused"))
    drain.run()
    assert sql("SELECT arm, status, attempts, last_error FROM tickets ORDER BY arm") == left


def test_an_experiment_that_was_taken_out_leaves_its_tickets_to_the_policy(split, drain, sql):
    split()
    drain.config = drain.config.model_copy(update={"experiments": []})
    drain.run()
    assert sql("SELECT count(*), count(served_arm) FROM triages") == [(2 * len(PEOPLE), 0)]


def test_an_experiment_that_is_over_takes_no_tickets(split, sql):
    split(until="2020-01-01T00:00:00Z")
    assert sql("SELECT DISTINCT experiment, arm FROM tickets") == [(None, None)]


def test_in_shadow_the_policy_serves_and_the_coin_asks_the_compared_llms(split, drain, sql):
    split(mode="shadow")
    sql("UPDATE tickets SET shadow = requester IN ('person 1', 'person 2')")
    drain.config = with_policy(drain.config, fallback=None)
    drain.run()
    assert sql("SELECT DISTINCT experiment, arm FROM tickets") == [("split-1", None)]
    assert sql("SELECT DISTINCT llms, served_arm FROM triages") == [(["primary"], None)]
    rows = sql("""SELECT v.name, p.role, p.reason, count(*) FROM predictions p
                  JOIN llm_versions v ON v.id = p.llm_version_id GROUP BY 1, 2, 3 ORDER BY 4""")
    assert rows == [("fallback", "shadow", "shadow", 4), ("primary", "primary", "assigned", 2 * len(PEOPLE))]


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_an_answer_that_the_coin_asked_for_is_a_shadow_whether_needed_or_not(client, drain, sql, threshold):
    client.post("/v1/tickets", json={"body": "I want a refund"})
    drain.config = with_policy(drain.config, escalate_below=threshold)
    drain.run()
    role = "fallback" if threshold else "shadow"
    assert sql("SELECT role, reason FROM predictions ORDER BY id") == [("primary", "assigned"), (role, "shadow")]


def test_without_the_coin_a_needed_answer_is_an_escalation(client, drain, sql):
    client.post("/v1/tickets", json={"body": "I want a refund"})
    sql("UPDATE tickets SET shadow = false")
    drain.config = with_policy(drain.config, escalate_below=1.0)
    drain.run()
    assert sql("SELECT role, reason FROM predictions ORDER BY id") == [
        ("primary", "assigned"),
        ("fallback", "escalated"),
    ]


@pytest.mark.parametrize("coin", [True, False])
def test_a_fallback_stands_in_for_a_primary_that_is_away(client, drain, sql, away, coin):
    client.post("/v1/tickets", json={"body": "I want a refund"})
    sql("UPDATE tickets SET shadow = %s", coin)
    away("primary")
    drain.run()
    assert sql("SELECT role, reason FROM predictions") == [("fallback", "shadow" if coin else "failure")]
    ((label, llms, reason, calibrated, action),) = sql("SELECT label, llms, reason, calibrated, action FROM triages")
    assert (label, llms, reason, calibrated, action) == ("refunds", ["fallback"], "primary_failed", True, "suggest")


def test_two_llms_that_are_away_cost_no_attempt(client, drain, sql, monkeypatch):
    client.post("/v1/tickets", json={"body": "I want a refund"})
    monkeypatch.setattr(Llm, "ask", lambda llm, *given: (_ for _ in ()).throw(EngineDown(f"{llm.name} is away")))
    drain.run()
    assert sql("SELECT status, attempts, last_error FROM tickets") == [("queued", 0, "primary is away")]


def test_a_silent_llm_is_a_line_of_the_log_for_each_change_not_for_each_ticket(client, drain, sql, away, monkeypatch):
    def run(*bodies):
        client.post("/v1/tickets/batch", json={"tickets": [{"body": body} for body in bodies]})
        with capture_logs() as said:
            drain.run()
        return [(line["event"], line["llm"], line.get("error")) for line in said if line["event"].startswith("llm.")]

    before = Llm.ask
    for llm in drain.llms.all.values():
        llm.silent(None)  # whatever an earlier test has left
    away("fallback")
    assert run(*(f"I want a refund {n}" for n in range(9))) == [("llm.silent", "fallback", "away")]
    assert run("my top up failed") == []
    monkeypatch.setattr(Llm, "ask", before)
    assert run("my top up failed", "how long does a transfer take") == [("llm.answers_again", "fallback", None)]
