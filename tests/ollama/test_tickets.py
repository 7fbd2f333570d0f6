"""What becomes of a ticket when Ollama fails: given back at no cost, an attempt of its own, or decided by one llm."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import taxonomies
from cards import write_card
from serving import with_policy
from sqlalchemy import Engine
from standin import Fault, Standin

from models import taxonomy
from models.db import transaction
from models.llm.card import Card
from service.config import Config
from service.settings import Loaded
from workers.drain import Drain
from workers.llms import Llms
from workers.pins import row_id

Sql = Callable[..., list[Any]]
BODY = "My new card has not arrived yet"


@pytest.fixture
def llms(request: pytest.FixtureRequest, standin: Standin, loaded: Loaded, tmp_path: Path) -> Iterator[Llms]:
    """The demo llms as a triage.yaml names them that has an Ollama; with all of their fields where a test says so."""
    whole = getattr(request, "param", False)
    config = loaded.config.model_dump() | {
        "engines": {"ollama": {"kind": "ollama", "url": standin.url, "parallel": 2}},
        "llms": {
            name: {
                "engine": "ollama",
                "model": f"triage-{name}",
                "card": f"demo:{name}" if whole else write_card(tmp_path, name),
            }
            for name in ("primary", "fallback")
        },
    }
    found = loaded.model_copy(update={"config": Config.model_validate(config), "folder": tmp_path})
    made = Llms(found, found.config.asked, tmp_path)
    made.engines[0]._deadline_s = 3.0  # type: ignore[attr-defined]
    assert made.load(), [llm.error for llm in made.all.values()]
    yield made
    made.close()


@pytest.fixture
def drain(database: Engine, llms: Llms, loaded: Loaded) -> Iterator[Drain]:
    made = Drain(database, llms, with_policy(loaded.config, escalate_below=1.0), 2)
    yield made
    made.pool.shutdown()


@pytest.fixture
def posted(client: httpx.Client) -> None:
    assert client.post("/v1/tickets", json={"body": BODY}).status_code == 202


def ticket(sql: Sql) -> Any:
    (row,) = sql("SELECT status, attempts, last_error FROM tickets")
    return row


def decision(sql: Sql) -> Any:
    (row,) = sql("SELECT llms, reason, label FROM triages")
    return row


def due_again(sql: Sql) -> None:
    sql("UPDATE tickets SET due_at = now()")


def test_both_llms_answer(drain: Drain, sql: Sql, posted: None) -> None:
    drain.run()
    assert ticket(sql) == ("done", 0, None)
    assert decision(sql)[1:] == ("escalated", "card_delivery_and_activation")
    rows = sql("""SELECT v.name, v.engine, v.digest, v.engine_version, p.load_ms > 0, p.prompt_tokens > 8
                  FROM predictions p JOIN llm_versions v ON v.id = p.llm_version_id ORDER BY p.id""")
    cards = [drain.llms.all[name].card for name in ("primary", "fallback")]
    assert rows == [
        (card.name, "ollama", card.digest, f"0.24.0 {card.served[0][:12]}", True, True) for card in cards if card
    ]


@pytest.mark.parametrize("llms", [True], indirect=True, ids=["whole"])
def test_a_field_that_is_longer_than_the_list_is_scored_whole_and_stored_as_incomplete(
    database: Engine, client: httpx.Client, drain: Drain, sql: Sql
) -> None:
    with transaction(database) as session:
        taxonomy.store(session, taxonomies.demo("category", "intent"))
    client.post("/v1/tickets", json={"body": BODY})
    drain.run()
    rows = sql("""SELECT scores_complete, (SELECT count(*) FROM jsonb_object_keys(scores)), label_mass,
                  (SELECT sum(value::float8) FROM jsonb_each_text(scores)) FROM predictions WHERE field = 'intent'""")
    assert [row[:2] for row in rows] == [(False, 77)] * 2
    assert all(0.5 < mass < 1 and total == pytest.approx(1) for *_, mass, total in rows)
    assert sql("SELECT llms FROM triages WHERE field = 'intent'") == [(["primary", "fallback"],)]


@pytest.mark.parametrize("mode", ["stopped", "busy", "stall", "302", "401", "403", "429"])
def test_an_ollama_that_fails_costs_the_ticket_nothing(
    drain: Drain, sql: Sql, posted: None, standin: Standin, mode: str
) -> None:
    standin.fault = Fault(mode)
    drain.run()
    status, attempts, error = ticket(sql)
    assert (status, attempts) == ("queued", 0)
    assert "Ollama" in error
    standin.fault = None
    due_again(sql)
    drain.run()
    assert ticket(sql) == ("done", 0, None)


def test_a_pause_that_a_proxy_asks_for_is_the_tickets_too(
    drain: Drain, sql: Sql, posted: None, standin: Standin
) -> None:
    standin.fault = Fault("429", retry_after="300")
    drain.run()
    assert ticket(sql) == ("queued", 0, "Ollama has had too many requests (429): a pause of 300 s.")
    assert sql("SELECT due_at - now() BETWEEN interval '200 s' AND interval '300 s' FROM tickets") == [(True,)]


def test_a_model_that_is_gone_costs_the_ticket_nothing_and_says_what_to_do(
    drain: Drain, sql: Sql, posted: None, standin: Standin
) -> None:
    standin.models.clear()
    drain.run()
    assert ticket(sql) == (
        "queued", 0, "Ollama has no model 'triage-primary': run triage llm create or triage llm pull for it."
    )  # fmt: skip
    assert not drain.llms.load()
    assert drain.llms.ready() is False


def test_a_loading_that_is_cut_short_costs_the_ticket_nothing(
    drain: Drain, sql: Sql, posted: None, standin: Standin
) -> None:
    """Ollama was restarted and a ticket comes before the next look: its deadline ends the loading; the look helps."""
    for name in ("triage-primary", "triage-fallback"):
        standin.unload(name)
    standin.load_s = 4.5
    drain.run()
    assert ticket(sql)[:2] == ("queued", 0)
    assert drain.llms.load()
    due_again(sql)
    drain.run()
    assert ticket(sql) == ("done", 0, None)


@pytest.mark.parametrize(
    ("mode", "attempts", "said"),
    [
        ("binary", 0, "Ollama failed with 500: \ufffd\x01\x02\ufffd."),
        ("nul", 1, "Ollama refused the request with 400: no \ufffd here."),
        ("half", 0, "Ollama failed with 500: half a character: \ufffd."),
    ],
)
def test_an_error_that_no_row_can_hold_is_kept_as_far_as_one_can(
    drain: Drain, sql: Sql, posted: None, standin: Standin, mode: str, attempts: int, said: str
) -> None:
    standin.fault = Fault(mode)
    drain.run()
    assert ticket(sql) == ("queued", attempts, said)
    standin.fault = None
    due_again(sql)
    drain.run()
    assert ticket(sql) == ("done", attempts, None)


def test_numbers_that_no_row_can_hold_are_left_out(drain: Drain, sql: Sql, posted: None, standin: Standin) -> None:
    standin.fault = Fault("huge")
    drain.run()
    assert ticket(sql) == ("done", 0, None)
    rows = sql("SELECT prompt_tokens, cached_tokens, load_ms, decode_ms FROM predictions")
    assert rows == [(None, None, 0.0, 0.0)] * 2


def test_names_that_no_row_can_hold_are_kept_as_far_as_one_can(
    drain: Drain, sql: Sql, posted: None, standin: Standin
) -> None:
    """A version and digests; one that is very long would not fit into the index of what was loaded."""
    standin.says = "0.24.0-\0"
    for number, model in enumerate(standin.models.values()):
        model.digest = f"\ud800{number}" + "x" * 5000
    for name in ("triage-primary", "triage-fallback"):
        standin.unload(name)
    assert drain.llms.load(), [llm.error for llm in drain.llms.all.values()]
    drain.run()
    assert ticket(sql) == ("done", 0, None)
    rows = sql("SELECT engine_version LIKE %s, length(engine_version) < 300 FROM llm_versions", "0.24.0-\ufffd \ufffd%")
    assert rows == [(True, True)] * 2


@pytest.mark.parametrize("mode", ["no_logprobs", "empty"])
def test_an_answer_without_a_score_is_the_tickets_attempt(
    drain: Drain, sql: Sql, posted: None, standin: Standin, mode: str
) -> None:
    standin.fault = Fault(mode)
    drain.run()
    assert ticket(sql) == (
        "queued", 1, "Ollama answered without log-probabilities: the first token has no text."
    )  # fmt: skip


def test_a_prompt_that_is_too_long_is_the_tickets_attempt(
    drain: Drain, sql: Sql, posted: None, standin: Standin, card: Card
) -> None:
    """No prepared ticket is too long for a model made for Triage, but a model can be made with less."""
    for name in ("triage-primary", "triage-fallback"):
        standin.add(name, card.path, num_ctx=256)
    assert drain.llms.load()
    sql("UPDATE tickets SET body = repeat('qx ', 400)")
    drain.run()
    assert ticket(sql) == ("queued", 1, "The prompt has more tokens than the llm's context in Ollama holds.")


@pytest.mark.parametrize("mode", ["stopped", "busy", "stall", "no_logprobs", "empty"])
def test_a_fallback_stands_in_for_a_primary_that_fails(
    drain: Drain, sql: Sql, posted: None, standin: Standin, mode: str
) -> None:
    sql("UPDATE tickets SET shadow = false")
    standin.fault = Fault(mode, model="triage-primary")
    drain.run()
    assert ticket(sql) == ("done", 0, None)
    assert decision(sql)[:2] == (["fallback"], "primary_failed")
    assert sql("SELECT role, reason FROM predictions") == [("fallback", "failure")]


@pytest.mark.parametrize("mode", ["stopped", "busy", "stall", "no_logprobs", "empty"])
def test_a_fallback_that_fails_leaves_the_decision_to_the_primary(
    drain: Drain, sql: Sql, posted: None, standin: Standin, mode: str
) -> None:
    standin.fault = Fault(mode, model="triage-fallback")
    drain.run()
    assert ticket(sql) == ("done", 0, None)
    assert decision(sql)[:2] == (["primary"], "escalated_without_fallback")


def test_other_weights_are_pinned_as_themselves_and_uncalibrated(
    drain: Drain, sql: Sql, posted: None, standin: Standin, other: Card, database: Engine
) -> None:
    """Somebody puts other weights under the name while the worker runs."""
    model = standin.add("triage-primary", other.path, num_ctx=2560)
    assert drain.llms.load()
    pins = {pin.name: pin for pin in drain.llms.pins()}
    assert (pins["primary"].digest, pins["primary"].calibration_id) == (model.digest, "")
    with transaction(database) as session:
        assert row_id(session, pins["primary"]) == row_id(session, dataclasses.replace(pins["primary"]))
    drain.run()
    assert sql("SELECT calibrated FROM predictions WHERE role = 'primary'") == [(False,)]
    assert sql("SELECT calibrated, action FROM triages") == [(False, "review")]


def test_both_llms_come_back_after_ollama_was_restarted(drain: Drain, sql: Sql, posted: None, standin: Standin) -> None:
    for name in ("triage-primary", "triage-fallback"):
        standin.unload(name)
    assert drain.llms.load(), [llm.error for llm in drain.llms.all.values()]
    assert len(standin.resident) == 2
    drain.run()
    assert decision(sql)[:2] == (["primary", "fallback"], "escalated")
