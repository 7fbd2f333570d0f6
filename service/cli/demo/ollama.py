"""The demo's two llms in an Ollama, where one answers: made there, used, and removed at the end. Used by `demo`."""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import ollama
import structlog
import yaml

from models.errors import TriageError
from models.llm.calibration_key import key_of, scored_by
from models.llm.card import load_card
from service.cli.common import say
from service.cli.llm import ollama_admin
from service.settings import DEMO_LLMS

NAMES = ("primary", "fallback")
MODELS = {name: f"triage-demo-{name}" for name in NAMES}
LOOK_S, LOAD_S = 2.0, 60.0
UNCOMPARED = "Nobody has compared Ollama {} with what they were calibrated on, so a human reviews every ticket there."


@contextmanager
def engine(folder: Path) -> Iterator[str]:
    """Has the triage.yaml in `folder` use an Ollama if one will do; gives the sentence that says which engine runs."""
    with ollama.Client(timeout=LOOK_S, trust_env=False) as client:
        url = str(client._client.base_url).rstrip("/")
    found = _version(url)
    if found is None:
        yield f"No Ollama of 0.12.11 or newer answers at {url}; the demo's llms ran in llama.cpp inside the worker."
        return
    try:
        yield _in_ollama(folder, url, found)
    finally:
        with suppress(TriageError), ollama_admin.admin(url) as client:
            ollama_admin.remove(client, MODELS.values())


def _version(url: str) -> str | None:
    """What the Ollama at this address calls itself; None when there is none or it is too old."""
    from workers.engines.ollama_http import Server  # the engine's own judgement

    server = Server(url)
    try:
        return server.version()
    except TriageError:
        return None
    finally:
        server.close()


def _in_ollama(folder: Path, url: str, version: str) -> str:
    """Makes the models and tries them; where that fails, llama.cpp does the work as without an Ollama."""
    say(f"An Ollama {version} answers at {url}: making {' and '.join(MODELS.values())} there ...")
    try:
        with ollama_admin.admin(url) as client:
            for name in NAMES:
                _card(folder, name, ollama_admin.create(client, MODELS[name], DEMO_LLMS / f"{name}.gguf"))
        _try(folder, url)
    except TriageError as error:
        return f"The Ollama at {url} would not do ({error.message}) The llms ran in llama.cpp inside the worker."
    config = yaml.safe_load((folder / "triage.yaml").read_text("utf-8"))
    config["engines"] = {"ollama": {"kind": "ollama", "url": url}}
    config["llms"] = {n: {"engine": "ollama", "model": m, "card": f"{n}.json"} for n, m in MODELS.items()}
    (folder / "triage.yaml").write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
    ran = f"The demo's llms ran in the Ollama {version} at {url}; their models there were only for the demo."
    return ran if _compared(folder, version) else f"{ran} {UNCOMPARED.format(version)}"


def _compared(folder: Path, version: str) -> bool:
    """Whether the calibrations on the cards count for an Ollama of this version."""
    cards = [load_card(folder / f"{name}.json") for name in NAMES]
    engine = scored_by("ollama", version)
    fits = [(card, field, fit) for card in cards for field, fit in card.calibration.items()]
    return not any(fit.refused(key_of(card, engine, field), card.name) for card, field, fit in fits)


def _card(folder: Path, name: str, digest: str) -> None:
    """The shipped card, with the digest under which Ollama holds its weights."""
    content = json.loads((DEMO_LLMS / f"{name}.json").read_text("utf-8"))
    (folder / f"{name}.json").write_text(json.dumps(content | {"served": [digest]}), "utf-8")


def _try(folder: Path, url: str) -> None:
    """Loads both as the worker will, so that a failure is known before anything is started on them."""
    from workers.engines.ollama import Ollama

    # What the engine would log here, the worker logs when it loads them.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    tried = Ollama(url, MODELS, load_s=LOAD_S)
    try:
        for name in NAMES:
            tried.load(replace(load_card(folder / f"{name}.json"), name=name))
    finally:
        tried.close()
