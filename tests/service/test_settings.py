"""A wrong or unknown setting stops the start with one sentence that names it."""

import pytest

from models import taxonomy
from models.errors import ConfigError
from service import settings

GOOD = """
engines: {e: {kind: llamacpp}}
llms: {a: {engine: e, model: "demo:primary"}, b: {engine: e, model: x/b.gguf}}
policy: {primary: a, fallback: b}
"""

OLLAMA = """
engines: {e: {kind: ollama, url: http://gpu:11434}}
llms: {a: {engine: e, model: m, card: "demo:primary"}, b: {engine: e, model: n, card: x/b.json}}
policy: {primary: a, fallback: b}
"""


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def write(text, name="triage.yaml"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def sentence(call, *args):
    with pytest.raises(ConfigError) as caught:
        call(*args)
    assert caught.value.message.endswith(".")
    assert "\n" not in caught.value.message
    return caught.value.message


def test_defaults_and_relative_paths(config, tmp_path):
    config(GOOD)
    loaded = settings.load()
    assert loaded.config.policy.escalate_below == 0.80
    assert loaded.taxonomy_path == tmp_path / "taxonomy.yaml"
    assert loaded.model_path("b") == tmp_path / "x/b.gguf"
    assert loaded.model_path("a").name == "primary.gguf"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("policy: [", "not valid YAML"),
        ("[]", "triage.yaml"),
        (GOOD + "colour: red", "colour: unknown key"),
        (GOOD + "taxonomy: a.yaml\ntaxonomy: b.yaml", "'taxonomy' stands twice"),
        (GOOD.replace("fallback: b", "fallback: c"), "policy.fallback is 'c'"),
        (GOOD.replace("fallback: b", "fallback: a"), "another llm"),
        (GOOD.replace("kind: llamacpp", "kind: magic"), "engines.e.kind"),
        (GOOD.replace("{engine: e, model: x", "{engine: f, model: x"), "llms.b.engine is 'f'"),
        (GOOD.replace("kind: llamacpp", "kind: llamacpp, url: http://h:1"), "kind llamacpp has no url"),
        (GOOD.replace("kind: llamacpp", "kind: ollama"), "llms.a needs a card"),
        (GOOD.replace('model: "demo:primary"', "model: m, card: m.json"), "llms.a needs no card, because"),
        (GOOD.replace('model: "demo:primary"', "model: m.gguf, family: gpt"), "llms.a.family"),
        (GOOD.replace('model: "demo:primary"', "model: m.gguf, calibration: c.json"), "llms.a has a calibration"),
        (GOOD.replace('model: "demo:primary"', "model: m.gguf, family: plain, calibration: c"), "llms.a.calibration"),
        (
            GOOD.replace("kind: llamacpp", "kind: linear").replace('model: "demo:primary"', "model: m, family: plain"),
            "llms.a has a family, which an llm on an engine of kind linear has not",
        ),
        (
            GOOD.replace("kind: llamacpp", "kind: ollama").replace("model:", "card: c.json, family: llama3, model:"),
            "llms.a needs a card, or a family if it was not trained by Triage: one of the two",
        ),
        (GOOD.replace('model: "demo:primary"', "model: m, card: m.yaml"), "llms.a.card"),
        (GOOD.replace("primary: a,", "primary: a, escalate_below: 2,"), "policy.escalate_below"),
        (GOOD.replace("primary: a,", "primary: a, escalate_blow: 0.5,"), "policy.escalate_blow"),
        (GOOD.replace("primary: a,", "primary: a, escalate_below: yes,"), "policy.escalate_below: Input should be a"),
        (GOOD.replace("kind: llamacpp", "kind: llamacpp, parallel: yes"), "engines.e.parallel: Input should be a"),
        (GOOD.replace("policy:", "polcy:"), "polcy: unknown key"),
    ],
)
def test_broken_configuration(config, text, names):
    config(text)
    assert names in sentence(settings.load)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[]", "triage.yaml is wrong at its top: it must be a mapping."),
        ("", "triage.yaml is wrong at its top: it must be a mapping."),
        (GOOD + "colour: red", "triage.yaml is wrong at colour: unknown key."),
        (
            GOOD.replace("fallback: b", "fallback: c"),
            "triage.yaml is wrong: policy.fallback is 'c', which is not under llms.",
        ),
        (
            GOOD
            + "experiments: ["
            + ", ".join(f"{{name: {n}, a: {{primary: a}}, b: {{primary: b}}}}" for n in "xy")
            + "]",
            "triage.yaml is wrong: experiments 'x' and 'y' overlap; give them since and until.",
        ),
    ],
)
def test_only_what_is_no_mapping_must_be_one(config, text, says):
    config(text)
    assert sentence(settings.load) == says


@pytest.mark.parametrize(
    "url",
    ["127.0.0.1:11434", "ftp://h", "http://", "http://h/api", "http://u:p@h", "http://h?x=1", "http://h:port", ""],
)
def test_the_url_of_an_ollama(config, url):
    config(OLLAMA.replace("http://gpu:11434", repr(url)))
    assert "like http://127.0.0.1:11434" in sentence(settings.load)


def test_an_llm_in_ollama_is_known_by_its_card(config, tmp_path):
    config(OLLAMA)
    loaded = settings.load()
    assert loaded.config.engines["e"].url == "http://gpu:11434"
    assert loaded.model_path("a") == settings.DEMO_LLMS / "primary.json"
    assert loaded.model_path("b") == tmp_path / "x/b.json"


def test_a_missing_file_says_what_to_do(config):
    assert "triage init" in sentence(settings.load)


def test_settings_from_the_environment_and_env_file(config, monkeypatch):
    config(GOOD)
    config("TRIAGE_PORT=9001\nTRIAGE_QUEUE_LIMIT=5\nOTHER=1\n", ".env")
    monkeypatch.setenv("TRIAGE_PORT", "9002")
    found = settings.load().settings
    assert (found.port, found.queue_limit) == (9002, 5)
    assert settings.load(port=9003).settings.port == 9003


@pytest.mark.parametrize(
    ("name", "value"),
    [("TRIAGE_PORT", "many"), ("TRIAGE_PORT", "70000"), ("TRIAGE_LOG_LEVEL", "loud"), ("TRIAGE_MAX_TICKET_BYTES", "1")],
)
def test_a_wrong_setting_is_named(config, monkeypatch, name, value):
    config(GOOD)
    monkeypatch.setenv(name, value)
    assert name in sentence(settings.load)


@pytest.mark.parametrize("where", ["environment", "file"])
def test_an_unknown_setting_is_named(config, monkeypatch, where):
    config(GOOD)
    if where == "environment":
        monkeypatch.setenv("TRIAGE_PROT", "1")
    else:
        config("TRIAGE_PROT=1\n", ".env")
    assert "TRIAGE_PROT" in sentence(settings.load)


def test_secrets_are_not_in_the_repr(config, monkeypatch):
    config(GOOD)
    monkeypatch.setenv("TRIAGE_DATABASE_URL", "postgresql://u:hunter2@h/d")
    monkeypatch.setenv("TRIAGE_API_KEY", "hunter2")
    assert "hunter2" not in repr(settings.load())


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("fields: {category: {labels: [{id: a}]}}", "fields.category.labels"),
        ("fields: {category: {labels: [{id: a}, {id: a}]}}", "given twice: a"),
        ("fields: {}", "fields"),
        ("fields: {category: {labels: [{id: a}, {id: b, colour: red}]}}", "colour"),
        ("fields: {category: {labels: [{id: a}, {id: 'x y'}]}}", "labels.1.id"),
        ("fields: [", "not valid YAML"),
    ],
)
def test_broken_taxonomy(config, text, names):
    assert names in sentence(taxonomy.load, config(text, "taxonomy.yaml"))


def test_the_same_taxonomy_is_one_version_and_a_change_the_next(database, config):
    from sqlalchemy.orm import Session

    first = taxonomy.load(config("fields: {category: {labels: [{id: a}, {id: b}]}}", "t.yaml"))
    second = taxonomy.load(config("fields: {category: {labels: [{id: a}, {id: c}]}}", "t.yaml"))
    with Session(database) as session:
        found = []
        for state in (first, first, second, first):
            found.append(taxonomy.store(session, state))
            session.flush()
        assert found[0][0] == 2
        assert found[1:] == [(2, None), (3, ["+ category/c", "- category/b"]), (4, ["+ category/b", "- category/c"])]
        assert taxonomy.active(session) == (4, first)


def test_a_secret_may_stand_in_a_file(config, monkeypatch, tmp_path):
    config(GOOD)
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "triage_database_url").write_text("postgresql://u:hunter2@h/d\n")
    monkeypatch.setattr(settings, "SECRETS", tmp_path / "secrets")
    found = settings.load().settings.database_url
    assert found is not None
    assert found.get_secret_value() == "postgresql://u:hunter2@h/d"
    monkeypatch.setenv("TRIAGE_DATABASE_URL", "postgresql://other/d")
    assert settings.load().settings.database_url.get_secret_value() == "postgresql://other/d"
