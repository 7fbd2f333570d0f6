"""A linear llm serves like any other: primary before a demo llm, its answers with their pin in Postgres."""

import pytest
from serving import with_policy

from models.llm.card import LINEAR, sha256
from service import settings
from service.config import EngineConfig, LlmConfig
from workers.drain import Drain
from workers.llms import Llms


@pytest.fixture(scope="module")
def mixed(of_queues, tmp_path_factory):
    """A linear llm and the tiny primary."""
    found = settings.load(config=settings.DEMO_LLMS / "triage.yaml")
    llms = {"linear": LlmConfig(engine="cpu", model=str(of_queues)), "tiny": found.config.llms["primary"]}
    engines = found.config.engines | {"cpu": EngineConfig(kind="linear")}
    found = found.model_copy(update={"config": found.config.model_copy(update={"llms": llms, "engines": engines})})
    made = Llms(found, ["linear", "tiny"], tmp_path_factory.mktemp("sockets"))
    assert made.load(), [llm.error for llm in made.all.values()]
    yield made
    made.close()


def test_a_sure_ticket_is_the_linear_llms_and_an_unsure_one_escalates(client, database, loaded, mixed, sql, of_queues):
    policy = with_policy(loaded.config, primary="linear", fallback="tiny", escalate_below=0.8)
    drain = Drain(database, mixed, policy, 4)
    try:
        for number, body in enumerate(("card problems and security", "I want my money back from the seller")):
            posted = client.post("/v1/tickets", json={"external_id": str(number), "body": body})
            assert posted.status_code == 202
        drain.run()
    finally:
        drain.pool.shutdown()
    sure, unsure = (client.get(f"/v1/tickets?external_id={n}").json()["items"][0]["triage"][0] for n in (0, 1))
    assert (sure["label"], sure["llms"], sure["calibrated"]) == ("card_problems_and_security", ["linear"], True)
    assert (unsure["llms"], unsure["reason"]) == (["linear", "tiny"], "escalated")
    pins = sql("SELECT DISTINCT engine, prompt_version, calibration_id, digest FROM llm_versions WHERE name = 'linear'")
    assert pins == [("linear", "text-1", "made-up", sha256(of_queues / LINEAR))]
    times = sql(
        "SELECT call_ms > 0, prefill_ms, prompt_tokens FROM predictions"
        " JOIN llm_versions v ON v.id = llm_version_id WHERE v.name = 'linear'"
    )
    assert times == [(True, None, None)] * 2
