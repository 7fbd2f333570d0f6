"""What becomes of a ticket over a server that pauses, refuses, costs too much, or does not say how sure it is."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest
from clouded import PRICE, Clouded
from sqlalchemy import Engine

from models.db import transaction
from models.errors import ConfigError, EngineDown

Sql = Callable[..., list[Any]]
BODY = "My new card has not arrived yet"


@pytest.fixture
def posted(client: httpx.Client) -> None:
    assert client.post("/v1/tickets", json={"body": BODY}).status_code == 202


def ticket(sql: Sql) -> Any:
    (row,) = sql("SELECT status, attempts, last_error FROM tickets")
    return row


def decision(sql: Sql) -> Any:
    (row,) = sql("SELECT llms, reason, action, confidence IS NULL FROM triages")
    return row


def test_both_llms_answer_and_say_what_they_cost(
    clouded: Clouded, sql: Sql, posted: None, client: httpx.Client
) -> None:
    clouded.drain(clouded.llms(), escalate_below=1.0).run()
    assert ticket(sql) == ("done", 0, None)
    assert decision(sql)[1] == "escalated"
    rows = sql("""SELECT v.engine, v.engine_version, p.calibrated, p.cost, p.prompt_tokens FROM predictions p
                  JOIN llm_versions v ON v.id = p.llm_version_id ORDER BY p.id""")
    assert [row[:3] for row in rows] == [
        ("openai", "v1 first/completions", True),
        ("openai", "v1 second/completions", True),
    ]
    for *_, cost, read in rows:
        assert cost == pytest.approx((read * PRICE["input"] + PRICE["output"]) / 1e6)
    (item,) = client.get("/v1/tickets").json()["items"]
    assert [one["cost"] for one in client.get(f"/v1/tickets/{item['id']}").json()["predictions"]] == [
        row[3] for row in rows
    ]


def test_numbers_that_no_row_can_hold_are_left_out(clouded: Clouded, sql: Sql, posted: None) -> None:
    drain = clouded.drain(clouded.llms(), escalate_below=1.0)
    clouded.cloud.fault = "huge"
    drain.run()
    assert ticket(sql) == ("done", 0, None)
    rows = sql("SELECT prompt_tokens, prefill_ms, decode_ms, cost FROM predictions")
    assert rows == [(None, None, None, None)] * 2


def test_a_name_that_no_row_can_hold_is_kept_as_far_as_one_can(clouded: Clouded, sql: Sql, posted: None) -> None:
    clouded.cloud.versions = {"first": "first\0\ud800", "second": "x" * 5000}
    clouded.drain(clouded.llms(), escalate_below=1.0).run()
    assert ticket(sql) == ("done", 0, None)
    names = sql("SELECT digest FROM llm_versions ORDER BY id")
    assert names == [("first\ufffd\ufffd/completions",), (f"{'x' * 200}/completions",)]


def test_a_pause_that_the_server_asks_for_is_the_tickets_too(clouded: Clouded, sql: Sql, posted: None) -> None:
    drain = clouded.drain(clouded.llms(), fallback=None)
    clouded.cloud.fault, clouded.cloud.retry_after = 429, "300"
    drain.run()
    status, attempts, error = ticket(sql)
    assert (status, attempts) == ("queued", 0)
    assert error.endswith("has had too many requests (429) and asks for a pause of 300 s.")
    assert sql("SELECT due_at - now() BETWEEN interval '200 s' AND interval '300 s' FROM tickets") == [(True,)]


@pytest.mark.parametrize("fault", [429, 500, "html", "nothing"])
def test_a_fallback_stands_in(clouded: Clouded, sql: Sql, posted: None, fault: int | str) -> None:
    """The pause is the server's, so both llms of one server rest; a fallback on another one answers."""
    llms = clouded.llms()
    drain = clouded.drain(llms)
    sql("UPDATE tickets SET shadow = false")
    clouded.cloud.fault, clouded.cloud.faulty = fault, "first"
    drain.run()
    if fault == 429:
        assert ticket(sql)[:2] == ("queued", 0)
    else:
        assert decision(sql)[:2] == (["fallback"], "primary_failed")


def test_a_label_without_a_confidence_goes_to_a_human(
    clouded: Clouded, sql: Sql, posted: None, client: httpx.Client
) -> None:
    clouded.cloud.without, clouded.cloud.refused = {"/completions"}, {"logprobs"}
    clouded.drain(clouded.llms(form="choice")).run()
    assert decision(sql) == (["primary"], "no_confidence", "review", True)
    rows = sql("""SELECT role, label IS NULL, confidence, raw_confidence, label_mass, margin, scores, calibrated
                  FROM predictions ORDER BY id""")
    assert rows == [(role, False, None, None, None, None, {}, False) for role in ("primary", "fallback")]
    (item,) = client.get("/v1/tickets").json()["items"]
    assert item["triage"][0]["confidence"] is None
    report = client.get("/v1/report")
    assert report.status_code == 200
    assert {llm["mean_confidence"] for llm in report.json()["llms"]} == {None}


def test_it_goes_to_another_llm_that_says_how_sure_it_is(clouded: Clouded, sql: Sql, posted: None) -> None:
    llms = clouded.llms()
    drain = clouded.drain(llms)
    clouded.cloud.refused = {"logprobs"}
    llms.engines[0]._loaded.pop("primary")  # type: ignore[attr-defined]
    assert llms.load()
    clouded.cloud.refused = set()
    sql("UPDATE tickets SET shadow = false")
    drain.run()
    labels, reason, action, mute = decision(sql)
    assert (labels, reason, mute) == (["fallback"], "primary_without_confidence", False)
    assert action == "suggest", "the fallback answers every ticket then, so its own calibration holds"
    assert sql("SELECT confidence IS NULL FROM predictions ORDER BY id") == [(True,), (False,)]


def test_a_limit_of_a_day_counts_what_all_workers_recorded(
    clouded: Clouded, sql: Sql, client: httpx.Client, database: Engine
) -> None:
    mine, theirs = clouded.limited(0.04), clouded.limited(0.04)
    client.post("/v1/tickets/batch", json={"tickets": [{"body": f"{BODY} {n}"} for n in range(3)]})
    drain = clouded.drain(mine, fallback=None)
    clouded.drain(theirs, fallback=None).run()
    assert sql("SELECT sum(cost) > 0.04 FROM predictions") == [(True,)]
    assert theirs.all["primary"].breaker() is not None
    assert mine.all["primary"].breaker() is None, "it has not looked yet"
    with transaction(database) as session:
        mine.read_spend(session)
    why = "The engine cloud has spent its 0.04 of today: it is asked again after midnight UTC"
    assert (mine.all["primary"].breaker() or "").startswith(why)
    client.post("/v1/tickets", json={"body": BODY})
    asked = len(clouded.cloud.paths)
    drain.run()
    assert len(clouded.cloud.paths) == asked
    # The last one, and of the first three what the other worker had not asked for when it looked.
    waiting = sql("SELECT attempts, last_error FROM tickets WHERE status = 'queued'")
    assert {(attempts, error.startswith(why)) for attempts, error in waiting} == {(0, True)}


def test_yesterday_does_not_count(clouded: Clouded, sql: Sql, posted: None, database: Engine) -> None:
    llms = clouded.limited(0.001)
    clouded.drain(llms, fallback=None).run()
    sql("UPDATE predictions SET created_at = created_at - interval '1 day'")
    other = clouded.limited(0.001)
    for one in (llms, other):
        with transaction(database) as session:
            one.read_spend(session)
    assert llms.all["primary"].breaker() is None, "what it recorded is in the tables, and there it is yesterday's"
    assert other.all["primary"].breaker() is None


def test_a_limit_over_a_server_that_counts_no_tokens_is_none(clouded: Clouded, sql: Sql, posted: None) -> None:
    clouded.cloud.usage = False
    llms = clouded.llms(spend_limit_per_day=1.0)
    clouded.drain(llms, fallback=None).run()
    assert sql("SELECT cost FROM predictions WHERE role = 'primary'") == [(None,)]
    assert "does not say how many tokens" in (llms.all["primary"].breaker() or "")
    with pytest.raises(EngineDown, match="cannot be kept"):
        llms.all["primary"].ask("x", "category", None)  # type: ignore[arg-type]


def test_a_key_comes_from_the_environment_and_a_missing_one_is_named(
    clouded: Clouded, monkeypatch: pytest.MonkeyPatch
) -> None:
    clouded.cloud.key = "right-key"
    monkeypatch.setenv("CLOUD_KEY", "right-key")
    assert clouded.llms(key_env="CLOUD_KEY").load()
    for value in ("", "two\nlines"):
        monkeypatch.setenv("CLOUD_KEY", value)
        with pytest.raises(ConfigError, match=r"^CLOUD_KEY, the key_env of an engine"):
            clouded.llms(key_env="CLOUD_KEY")
