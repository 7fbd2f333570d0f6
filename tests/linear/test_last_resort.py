"""A linear llm as the last resort: who is asked, what the rows say, and when a ticket waits all the same."""

from dataclasses import replace

import pytest
import yaml

from models.errors import EngineDown, EngineError
from service import settings
from service.config import Config, EngineConfig, LlmConfig, PolicyConfig
from workers.drain import Drain
from workers.llm import Llm
from workers.llms import Llms

BODY = "card problems and security"
TINY = ("primary", "fallback")


@pytest.fixture(scope="module")
def all_three(of_queues, tmp_path_factory):
    """The two tiny llms and a linear one that stands behind them."""
    found = settings.load(config=settings.DEMO_LLMS / "triage.yaml")
    config = Config(
        engines=found.config.engines | {"cpu": EngineConfig(kind="linear")},
        llms=found.config.llms | {"linear": LlmConfig(engine="cpu", model=str(of_queues))},
        policy=PolicyConfig(primary="primary", fallback="fallback", last_resort="linear"),
    )
    made = Llms(found.model_copy(update={"config": config}), config.asked, tmp_path_factory.mktemp("sockets"))
    assert made.load(), [llm.error for llm in made.all.values()]
    yield config, made
    made.close()


@pytest.fixture
def loaded(loaded, all_three):
    """The same over the test's database."""
    return loaded.model_copy(update={"config": all_three[0]})


@pytest.fixture
def drained(all_three, client, database, monkeypatch, sql):
    """Posts a ticket and works, while some llms fail in some way."""
    config, llms = all_three
    drain = Drain(database, llms, config, 4)
    real = Llm.ask

    def run(failing, error=EngineDown, coin=False):
        def ask(llm, *given):
            if llm.name in failing:
                raise error(f"{llm.name} failed")
            return real(llm, *given)

        monkeypatch.setattr(Llm, "ask", ask)
        assert client.post("/v1/tickets", json={"body": BODY}).status_code == 202
        sql("UPDATE tickets SET shadow = %s", coin)
        drain.run()

    yield run
    drain.pool.shutdown()


def test_it_decides_where_nobody_else_can(drained, sql):
    drained(TINY)
    rows = sql("""SELECT v.name, v.engine, p.role, p.reason, p.calibrated FROM predictions p
                  JOIN llm_versions v ON v.id = p.llm_version_id""")
    assert rows == [("linear", "linear", "last_resort", "failure", True)]
    assert sql("SELECT label, llms, calibrated, action, reason FROM triages") == [
        ("card_problems_and_security", ["linear"], True, "suggest", "last_resort")
    ]
    assert sql("SELECT status, attempts FROM tickets") == [("done", 0)]


def test_uncalibrated_it_leaves_it_to_a_human(drained, sql, all_three, monkeypatch):
    linear = all_three[1].all["linear"]
    monkeypatch.setattr(linear, "card", replace(linear.card, calibration={}))
    drained(TINY, EngineError)
    rows = sql("SELECT label, llms, calibrated, action, reason FROM triages")
    assert rows == [("card_problems_and_security", ["linear"], False, "review", "last_resort")]


@pytest.mark.parametrize(("failing", "role"), [(["primary"], "fallback"), (["fallback"], "primary"), ([], "primary")])
def test_it_is_not_asked_while_another_answers(drained, sql, failing, role):
    drained(failing)
    assert role in [found for (found,) in sql("SELECT role FROM predictions")]
    assert sql("SELECT count(*) FROM predictions WHERE role = 'last_resort'") == [(0,)]


@pytest.mark.parametrize(("error", "attempts"), [(EngineDown, 0), (EngineError, 1)])
def test_when_it_fails_as_well_the_ticket_is_as_without_it(drained, sql, error, attempts):
    drained([*TINY, "linear"], error)
    assert sql("SELECT status, attempts, last_error FROM tickets") == [("queued", attempts, "primary failed")]
    assert sql("SELECT count(*) FROM predictions") == [(0,)]


def test_it_has_its_role_in_the_catalog_and_in_the_report(drained, client, sql):
    drained(TINY)
    (llm,) = client.get("/v1/report").json()["llms"]
    assert llm["roles"] == {"primary": 0, "fallback": 0, "shadow": 0, "last_resort": 1}
    assert llm["reasons"]["failure"] == 1
    assert [(one["name"], one["policy_role"]) for one in client.get("/v1/llms").json()["items"]] == [
        ("linear", "last_resort")
    ]


TRIAGE = """
engines: {e: {kind: llamacpp}, cpu: {kind: linear}}
llms:
  a: {engine: e, model: "demo:primary"}
  b: {engine: e, model: "demo:fallback"}
  linear: {engine: cpu, model: linear}
policy: {primary: a, POLICY}
"""


def config(policy):
    return Config.model_validate(yaml.safe_load(TRIAGE.replace("POLICY", policy)))


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ("last_resort: nobody", "policy.last_resort is 'nobody', which is not under llms"),
        ("last_resort: linear, fallback: linear", "policy.last_resort must be another llm than primary and fallback"),
        ("last_resort: b", "policy.last_resort is on an engine of kind llamacpp; it must be of kind linear"),
    ],
)
def test_a_last_resort_that_will_not_do(policy, says):
    with pytest.raises(ValueError, match=says):
        config(policy)


def test_every_llm_that_may_be_asked_is_loaded():
    assert config("fallback: b, last_resort: linear").asked == ["a", "b", "linear"]
    assert config("last_resort: linear").asked == ["a", "linear"]
