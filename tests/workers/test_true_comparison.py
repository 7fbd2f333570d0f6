"""Two identical llms under escalation: the report must find nothing, however hard the escalated tickets are."""

import random

import pytest
from serving import serving, with_policy

from service import settings
from workers.drain import Drain
from workers.llms import Llms

BODIES = [
    "I want a refund", "my card has not arrived yet", "why is my top up pending", "tell me a joke",
    "my transfer failed", "what is the exchange rate", "card refund top up transfer", "help",
]  # fmt: skip


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The tiny primary twice, under two names."""

    found = settings.load(config=settings.DEMO_LLMS / "triage.yaml")
    config = found.config.model_copy(update={"llms": dict.fromkeys(("one", "two"), found.config.llms["primary"])})
    found = found.model_copy(update={"config": config})
    made = Llms(found, ["one", "two"], tmp_path_factory.mktemp("llm"))
    assert made.load(), [llm.error for llm in made.all.values()]
    yield made
    made.close()


@pytest.fixture
def drain(database, loaded, twins):
    made = Drain(database, twins, with_policy(loaded.config, primary="one", fallback="two", escalate_below=0.9), 4)
    yield made
    made.pool.shutdown()


def test_two_identical_llms_under_escalation_give_a_null_result(loaded, drain, sql, new_key):

    coins = random.Random(1)
    with serving(loaded.model_copy(update={"config": drain.config})) as client:
        client.headers["Authorization"] = f"Bearer {new_key('admin')}"
        tickets = [{"body": f"{body}, {n}"} for body in BODIES for n in range(12)]
        ids = [t["id"] for t in client.post("/v1/tickets/batch", json={"tickets": tickets}).json()["items"]]
        with_coin = [ticket for ticket in ids if coins.random() < 0.4]
        sql("UPDATE tickets SET shadow = id = ANY(%s)", with_coin)
        drain.run()
        for ticket in ids:
            given = {"field": "category", "label": "refunds", "source": "dataset"}
            assert client.post(f"/v1/tickets/{ticket}/verdicts", json=given).status_code == 201
        report = client.get("/v1/report").json()
    ((escalated,),) = sql("SELECT count(*) FROM predictions WHERE reason = 'escalated'")
    ((hard,),) = sql("SELECT count(*) FROM predictions WHERE role = 'fallback'")
    assert 0 < escalated < hard, "some hard tickets had the coin and some had not"
    (pair,) = report["pair"]
    assert pair["n"] == len(with_coin)
    assert (pair["only_a"], pair["only_b"], pair["difference"]) == (0, 0, 0)
    assert pair["verdict"]["word"] not in ("A better", "B better")
    assert {llm["llm"]: llm["accuracy"][0]["n"] for llm in report["llms"]} == {"one": len(ids), "two": len(with_coin)}
