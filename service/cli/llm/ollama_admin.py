"""Ollama's admin API for commands: what is there, create, pull and remove, with progress. Used by `llm` and `demo`.

This is what the `ollama` package is for; classification goes through workers/engines.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import ollama
from rich.progress import Progress

from models.errors import EngineDown, EngineError
from service.cli.common import notes

# For one generated token and any prepared ticket. Set here, because what a request changes makes Ollama load anew.
PARAMETERS = {"num_ctx": 2560, "num_batch": 512, "num_gpu": 99, "temperature": 0, "repeat_penalty": 1.0}
# Between two signs of life; a pull or an upload as a whole may take hours.
_SILENCE_S = 600.0


@contextmanager
def admin(url: str | None, timeout_s: float = _SILENCE_S) -> Iterator[ollama.Client]:
    """A client of the server at `url`, else of the one that OLLAMA_HOST names. Its errors come as our sentences."""
    with ollama.Client(url, timeout=httpx.Timeout(timeout_s, connect=2.0), trust_env=False) as client:
        try:
            yield client
        except ollama.ResponseError as error:
            raise EngineError(f"Ollama refused: {error.error.strip().rstrip('.')}.") from None
        except (ConnectionError, httpx.HTTPError):
            raise EngineDown("Ollama does not answer: start it, or mend engines.url in triage.yaml.") from None


def digest(client: ollama.Client, model: str) -> str | None:
    """Ollama's digest of what it holds under this name; None when nothing."""
    full = model if ":" in model.rpartition("/")[2] else f"{model}:latest"
    return next((one.digest for one in client.list().models if one.model == full), None)


def create(client: ollama.Client, model: str, gguf: Path) -> str:
    """Uploads a GGUF and makes a model of it with our parameters; its digest."""
    with Progress(console=notes, transient=True) as bars:
        bars.add_task(f"Uploading {gguf.name}", total=None)
        blob = client.create_blob(gguf)
    steps = client.create(model, files={gguf.name: blob}, parameters=PARAMETERS, stream=True)
    _show(steps, f"Creating {model}")
    found = digest(client, model)
    if found is None:
        raise EngineError(f"Ollama took {gguf.name} and has no {model} all the same: see its log.")
    return found


def pull(client: ollama.Client, model: str) -> None:
    """Has Ollama fetch a model from its registry."""
    _show(client.pull(model, stream=True), f"Pulling {model}")


def remove(client: ollama.Client, models: Iterable[str]) -> None:
    """Removes the models that are there."""
    for model in models:
        if digest(client, model) is not None:
            client.delete(model)


def _show(steps: Iterator[Any], what: str) -> None:
    """One bar: what Ollama says it does, and how far it is where it says so."""
    with Progress(console=notes, transient=True) as bars:
        task = bars.add_task(what, total=None)
        for step in steps:
            bars.update(task, description=f"{what}: {step.status}", total=step.total, completed=step.completed or 0)
