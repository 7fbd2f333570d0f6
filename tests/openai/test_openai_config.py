"""What triage.yaml may say of a server that speaks OpenAI's API, and what the commands say of it."""

from pathlib import Path
from typing import Any

import pytest
from cloud import Cloud

from models.errors import ConfigError, TriageError
from models.llm.card import load_card
from models.llm.prices import Price, published
from service.cli.llm.command import state
from service.config import Config, read_config
from service.settings import DEMO_LLMS, Loaded
from workers import building

YAML = """
engines:
  cloud: {{kind: openai, url: "{url}"{engine}}}
llms:
  a: {{engine: cloud, model: first, card: "demo:primary"{llm}}}
policy: {{primary: a}}
"""


def read(folder: Path, url: str = "https://api.mistral.ai/v1", engine: str = "", llm: str = "") -> Config:
    path = folder / "triage.yaml"
    path.write_text(YAML.format(url=url, engine=engine, llm=llm), encoding="utf-8")
    return read_config(path)


@pytest.mark.parametrize(
    "url", ["https://api.mistral.ai/v1", "http://127.0.0.1:8000/v1", "http://[::1]:8000", "https://x.example/a/b-c/v1/"]
)
def test_a_url_with_a_path(tmp_path: Path, url: str) -> None:
    engine = read(tmp_path, url, ", key_env: MISTRAL_API_KEY, parallel: 8, spend_limit_per_day: 5.00").engines["cloud"]
    assert (engine.url, engine.key_env, engine.spend_limit_per_day) == (url, "MISTRAL_API_KEY", 5.0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"url": "ftp://x"}, "url must be like https://api.mistral.ai/v1"),
        ({"url": "https://user:secret@x/v1"}, "url must be like https://api.mistral.ai/v1"),
        ({"url": "https://x/v1?key=1"}, "url must be like https://api.mistral.ai/v1"),
        ({"engine": ", key_env: sk-123"}, r"engines\.cloud\.key_env"),
        ({"engine": ", spend_limit_per_day: 0"}, r"engines\.cloud\.spend_limit_per_day"),
        ({"llm": ", price: {input: -1, output: 0}"}, r"llms\.a\.price\.input"),
        ({"llm": ", price: {input: 1}"}, r"llms\.a\.price\.output"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        read(tmp_path, **changes)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("engines: {e: {kind: openai}}", "an engine of kind openai needs a url"),
        ("engines: {e: {kind: llamacpp, key_env: K}}", "an engine of kind llamacpp has no key_env"),
        ("engines: {e: {kind: ollama, spend_limit_per_day: 1}}", "an engine of kind ollama has no spend_limit_per_day"),
    ],
)
def test_what_only_such_an_engine_has(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "triage.yaml"
    path.write_text(text + '\nllms: {a: {engine: e, model: "demo:primary"}}\npolicy: {primary: a}\n', encoding="utf-8")
    with pytest.raises(ConfigError, match=sentence):
        read_config(path)


def test_an_llm_needs_a_card_and_a_limit_needs_a_price(tmp_path: Path) -> None:
    found = read(tmp_path, engine=", spend_limit_per_day: 5")
    with pytest.raises(ConfigError, match=r"A spend_limit_per_day needs prices: write llms\.a\.price"):
        building.price_of("a", found.llms["a"], found.engines["cloud"])
    text = YAML.format(url="http://x/v1", engine="", llm="").replace(', card: "demo:primary"', "")
    (tmp_path / "triage.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"llms\.a needs a card"):
        read_config(tmp_path / "triage.yaml")


def test_prices_are_dated_and_the_users_own_count_more(tmp_path: Path) -> None:
    prices = published()
    assert (prices.currency, prices.date.year) == ("USD", 2026)
    found = read(tmp_path, llm=", price: {input: 1, output: 2}")
    known = found.llms["a"].model_copy(update={"model": "gpt-4o-mini", "price": None})
    assert building.price_of("a", known, found.engines["cloud"]) == prices.models["gpt-4o-mini"]
    assert building.price_of("a", found.llms["a"], found.engines["cloud"]) == Price(input=1, output=2)
    assert Price(input=1, output=2).of(3_000_000, 500_000) == pytest.approx(4.0)
    assert Price(input=1, output=2).of(3, None) is None


def test_triage_llm_says_whether_the_server_has_the_model(
    made: Cloud, loaded: Loaded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = load_card(DEMO_LLMS / "primary.gguf")
    monkeypatch.setenv("CLOUD_KEY", "wrong-key")

    def says(**changes: Any) -> str:
        config = read(tmp_path, made.url, ", key_env: CLOUD_KEY")
        llms = {"a": config.llms["a"].model_copy(update=changes)}
        return state(loaded.model_copy(update={"config": config.model_copy(update={"llms": llms})}), "a", card)

    assert says() == f"first at {made.url}"
    with pytest.raises(TriageError, match="has no model 'third'"):
        says(model="third")
    made.key = "right-key"
    with pytest.raises(TriageError, match="refuses the key in CLOUD_KEY"):
        says()
    made.key = None
    made.without = {"/models"}
    assert says() == f"first at {made.url}, which does not list its models"
