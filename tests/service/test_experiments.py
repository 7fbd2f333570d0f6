"""Which experiment a ticket takes part in, from triage.yaml to the row, and the list that the API shows."""

from datetime import UTC, datetime

import pytest
import yaml
from serving import serving

from models.db import transaction
from models.errors import ConfigError
from service.config import Config, ExperimentConfig, read_config
from service.experiments import assignment, kept

EXPECTED = "b"  # of ana@example.com in m-or-k: its hash begins with f9
BASE = {
    "engines": {"e": {"kind": "llamacpp"}},
    "llms": {name: {"engine": "e", "model": "demo:primary"} for name in ("m", "l", "k")},
    "policy": {"primary": "m", "fallback": "l", "shadow_rate": 0.5},
}
ONE = {"name": "m-or-k", "a": {"primary": "m"}, "b": {"primary": "k"}}


def config(*experiments, **policy):
    return Config.model_validate(BASE | {"experiments": list(experiments), "policy": BASE["policy"] | policy})


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def test_without_experiments_the_policys_llms_are_compared():
    found = assignment.running(config(), at("2026-01-01"))
    assert (found.name, found.implied, found.mode, found.compared) == (
        "primary-or-fallback",
        True,
        "shadow",
        ["m", "l"],
    )


def test_without_a_fallback_nothing_is_compared():
    assert assignment.running(config(fallback=None), at("2026-01-01")).compared == ["m"]


def test_each_runs_in_its_window_and_the_implied_one_between_them():
    first = ONE | {"until": "2026-02-01T00:00:00Z"}
    second = ONE | {"name": "later", "since": "2026-03-01T00:00:00Z"}
    found = config(first, second)
    days = ("2026-01-31", "2026-02-01", "2026-02-28", "2026-03-01")
    names = [assignment.running(found, at(day)).name for day in days]
    assert names == ["m-or-k", "primary-or-fallback", "primary-or-fallback", "later"]


def test_halves_are_stable_and_near_equal_and_differ_between_experiments():
    one, other = (assignment.drawn(config(ONE | {"name": name, "mode": "split"}), name) for name in ("one", "other"))
    units = [f"unit {n}" for n in range(2000)]
    arms = [one.arm(unit) for unit in units]
    assert arms == [one.arm(unit) for unit in units]
    assert 900 < arms.count("a") < 1100
    same = sum(a == other.arm(unit) for a, unit in zip(arms, units, strict=True))
    assert 900 < same < 1100, "the halves of two experiments have nothing to do with each other"


def test_the_arm_is_the_first_bit_of_a_documented_hash():
    found = assignment.drawn(config(ONE | {"mode": "split"}), "m-or-k")
    # printf 'm-or-k\nana@example.com' | sha256sum
    assert found.arm("ana@example.com") == EXPECTED


def test_what_is_assigned_is_the_requester_else_the_ticket():
    assert assignment.unit("ana", "7", "id") == "ana"
    assert assignment.unit(None, "7", "id") == assignment.unit("", "7", "id") == "7"
    assert assignment.unit(None, None, "id") == "id"


@pytest.mark.parametrize(
    ("experiments", "sentence"),
    [
        ([ONE, ONE], "the name 'm-or-k' twice"),
        ([ONE, ONE | {"name": "two"}], "'m-or-k' and 'two' overlap"),
        ([ONE | {"b": {"primary": "m"}}], "nothing to compare"),
        ([ONE | {"b": {"primary": "z"}}], "experiments.m-or-k.b.primary is 'z', which is not under llms"),
        ([ONE | {"b": {"primary": "k", "fallback": "k"}}], "another llm"),
        ([ONE | {"b": {"primary": "k", "fallback": "l"}}], "mode split compares policies"),
        ([ONE | {"name": "primary-or-fallback"}], "the implied one"),
        ([ONE | {"name": "With Spaces"}], "experiments.0.name"),
        ([ONE | {"since": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}], "since must lie before until"),
        ([ONE | {"since": "2026-02-01T00:00:00"}], "timezone"),
        ([ONE | {"since": 2026}], "such as 2026-01-31T12:00:00Z"),
        ([ONE | {"until": "2026"}], "such as 2026-01-31T12:00:00Z"),
        ([ONE | {"mode": "magic"}], "experiments.0.mode"),
        ([ONE | {"share": 0.1}], "unknown key"),
    ],
)
def test_a_wrong_experiment_stops_the_start_with_a_sentence(tmp_path, experiments, sentence):
    path = tmp_path / "triage.yaml"
    path.write_text(yaml.safe_dump(BASE | {"experiments": experiments}))
    with pytest.raises(ConfigError) as caught:
        read_config(path)
    assert sentence in caught.value.message
    assert caught.value.message.endswith(".")


def test_a_shadow_needs_a_coin(tmp_path):
    with pytest.raises(ValueError, match=r"needs policy\.shadow_rate above 0"):
        config(ONE, shadow_rate=0)


@pytest.mark.parametrize("mode", ["shadow", "split"])
def test_the_row_and_the_lists_tell_the_experiment(loaded, new_key, sql, mode):
    line = ONE | {"mode": mode, "a": {"primary": "primary"}, "b": {"primary": "fallback"}}
    found = loaded.config.model_copy(update={"experiments": [ExperimentConfig.model_validate(line)]})
    with serving(loaded.model_copy(update={"config": found})) as client:
        client.headers["Authorization"] = f"Bearer {new_key('admin')}"
        ticket = client.post("/v1/tickets", json={"body": "x", "requester": "ana@example.com"}).json()
        whole = client.get(ticket["url"]).json()
        listed = client.get("/v1/experiments").json()["items"]
    arm = EXPECTED if mode == "split" else None
    assert sql("SELECT experiment, arm FROM tickets") == [("m-or-k", arm)]
    assert (whole["experiment"], whole["arm"]) == ("m-or-k", arm)
    assert [(one["name"], one["running"], one["implied"]) for one in listed] == [
        ("m-or-k", True, False), ("primary-or-fallback", False, True),
    ]  # fmt: skip
    assert (listed[0]["a"]["primary"], listed[0]["b"]["primary"], listed[0]["mode"]) == ("primary", "fallback", mode)


def test_the_list_needs_a_key_that_may_read_reports(client, new_key):
    assert client.get("/v1/experiments", headers={"Authorization": "Bearer x"}).status_code == 401
    key = new_key("tickets:read")
    assert client.get("/v1/experiments", headers={"Authorization": f"Bearer {key}"}).status_code == 403


def test_an_experiment_about_an_unknown_field_is_refused():
    with pytest.raises(ConfigError, match="'mood', which the taxonomy does not have: category, intent"):
        assignment.require_fields(config(ONE | {"field": "mood"}), ["category", "intent"])
    assignment.require_fields(config(ONE), ["category"])


def took_part(sql, name):
    sql(
        "INSERT INTO tickets (id, source, subject, body, raw, content_sha256, shadow, shadow_rate, experiment) "
        "VALUES (gen_random_uuid(), 'api', '', '', '', '', false, 0, %s)",
        name,
    )


def test_a_name_keeps_its_meaning_once_tickets_took_part(database, sql):
    other = ONE | {"b": {"primary": "l"}}
    with transaction(database) as session:
        kept.keep(session, config(ONE))
    with transaction(database) as session:
        kept.keep(session, config(other))
    assert sql("SELECT name, definition #>> '{b,primary}' FROM experiments") == [("m-or-k", "l")]
    took_part(sql, "m-or-k")
    with pytest.raises(ConfigError, match="m-or-k has tickets and compared something else"), transaction(database) as s:
        kept.keep(s, config(ONE))
    with transaction(database) as session:
        kept.keep(session, config(other | {"until": "2026-01-01T00:00:00Z"}))
        kept.keep(session, config())
    assert sql("SELECT name, definition #>> '{b,primary}' FROM experiments") == [("m-or-k", "l")]


def test_a_report_outlives_the_lines_of_its_experiment(client, database, sql):
    assert client.get("/v1/experiments/m-or-k/report").status_code == 404
    with transaction(database) as session:
        kept.keep(session, config(ONE))
    took_part(sql, "m-or-k")
    found = client.get("/v1/experiments/m-or-k/report").json()
    assert (found["experiment"]["b"], found["tickets"]["received"]) == ("k", 1)
    listed = client.get("/v1/experiments").json()["items"]
    assert [(one["name"], one["running"]) for one in listed] == [("primary-or-fallback", True), ("m-or-k", False)]
