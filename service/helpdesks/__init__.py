"""Helpdesk connections: one adapter per kind, built at start from `connections:` of triage.yaml by the API."""

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from models.errors import ConfigError
from service.helpdesks import generic
from service.helpdesks.base import Adapter

KINDS: dict[str, Callable[[Mapping[str, Any], Mapping[str, str]], Adapter]] = {"generic": generic.build}


def build(config: Mapping[str, Any], environ: Mapping[str, str] = os.environ) -> Adapter:
    """The adapter of one entry of `connections:`, its secret read from `environ`.

    Raises ConfigError with one sentence that names the connection and each wrong key.
    """
    name, kind = config.get("name"), config.get("kind")
    make = KINDS.get(kind) if isinstance(kind, str) else None
    if make is None:
        raise ConfigError(f"connection {name!r}: kind must be one of: {', '.join(sorted(KINDS))}.")
    try:
        return make(config, environ)
    except ValidationError as error:
        raise ConfigError(f"connection {name!r}: {_problems(error)}.") from None


def build_all(configs: Iterable[Mapping[str, Any]], environ: Mapping[str, str] = os.environ) -> dict[str, Adapter]:
    """Adapters by connection name, which is also the tickets' source; raises ConfigError as `build` does."""
    adapters: dict[str, Adapter] = {}
    for config in configs:
        adapter, name = build(config, environ), config["name"]
        if name in adapters:
            raise ConfigError(f"connection {name!r} is declared twice.")
        adapters[name] = adapter
    return adapters


def _problems(error: ValidationError) -> str:
    # Only place and message: the input itself may be a secret written under the wrong key.
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    places = (".".join(str(part) for part in problem["loc"]) for problem in problems)
    return "; ".join(f"{place}: {_message(problem)}" for place, problem in zip(places, problems, strict=True))


def _message(problem: Mapping[str, Any]) -> str:
    if problem["type"] == "extra_forbidden":
        return "unknown key"
    return str(problem["msg"]).removeprefix("Value error, ")
