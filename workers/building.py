"""From triage.yaml to an engine, with its key, and to an llm's price. Called by llms."""

from pathlib import Path

from models.errors import ConfigError
from models.llm.prices import Price, published
from service.config import EngineConfig, LlmConfig
from service.settings import connection_secrets
from workers.engines.base import Engine
from workers.engines.linear import Linear
from workers.engines.llamacpp import LlamaCpp
from workers.engines.ollama import Ollama
from workers.engines.openai import OpenAi
from workers.engines.openai_usage import Bill, free


def build(config: EngineConfig, models: dict[str, str], sockets: Path, bill: Bill = free) -> Engine:
    """The engine that triage.yaml describes; `models` says what each of its llms is called there."""
    if config.kind == "ollama":
        return Ollama(config.url, models, parallel=config.parallel)
    if config.kind == "linear":
        return Linear(parallel=config.parallel)
    if config.kind == "openai":
        return openai(config, models, bill)
    return LlamaCpp(sockets, parallel=config.parallel)


def openai(config: EngineConfig, models: dict[str, str], bill: Bill = free) -> OpenAi:
    """The engine of a server that speaks OpenAI's API, with its key."""
    key = key_of(config.key_env)
    return OpenAi(config.url, models, key=key, key_env=config.key_env, bill=bill, parallel=config.parallel)


def key_of(variable: str | None) -> str | None:
    """The secret under that name, from the environment or `.env`; ConfigError when there is none."""
    if variable is None:
        return None
    key = connection_secrets().get(variable, "").strip()
    if not key.isascii() or not key.isprintable() or not key:
        raise ConfigError(f"{variable}, the key_env of an engine in triage.yaml, holds no key: set it, or in .env.")
    return key


def price_of(name: str, llm: LlmConfig, engine: EngineConfig) -> Price | None:
    """What triage.yaml says, else what is published for that model."""
    price = llm.price or (published().models.get(llm.model) if engine.kind == "openai" else None)
    if price is None and engine.spend_limit_per_day is not None:
        raise ConfigError(f"A spend_limit_per_day needs prices: write llms.{name}.price: {{input: ..., output: ...}}.")
    return price
