"""An llm's card as commands show it, without loading the llm. Used by `llm`, `doctor` and `taxonomy lint`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from models import taxonomy
from models.errors import EngineDown, EngineError
from models.llm import calibration, zero_shot
from models.llm.calibration import Calibration
from models.llm.card import Card, load_card, sha256
from models.taxonomy import Taxonomy
from service.settings import Loaded


def card(loaded: Loaded, name: str) -> Card:
    """The card that was written, or for an llm that was not trained on our prompts one for the labels of the file.

    Raises EngineDown when the weights are not there, ConfigError when the card or the labels will not do.
    """
    config = loaded.config.llms[name]
    if config.family is None:
        return load_card(loaded.model_path(name))
    made = untrained(loaded, name, taxonomy.load(loaded.taxonomy_path), lambda _: True)
    if loaded.config.engines[config.engine].kind == "llamacpp":
        made = replace(made, path=loaded.model_path(name), digest=_digest(loaded.model_path(name)))
    return replace(made, calibration=_fits(loaded, name))


def asked(loaded: Loaded, name: str, labels: Taxonomy | None = None) -> Card:
    """The same with the codes that it will have, as far as the GGUF or an Ollama says; of weights it says nothing."""
    config = loaded.config.llms[name]
    if config.family is None:
        return load_card(loaded.model_path(name))
    vocabulary = labels or taxonomy.load(loaded.taxonomy_path)
    known: Callable[[str], bool] = lambda _: True  # noqa: E731 (of a vocabulary that nobody can be asked for)
    draft = untrained(loaded, name, vocabulary, known)
    if loaded.config.engines[config.engine].kind == "ollama":
        known = _in_ollama(loaded, name, draft) or known
    elif loaded.config.engines[config.engine].kind == "llamacpp":
        known = _in_gguf(loaded.model_path(name), draft)
    return replace(untrained(loaded, name, vocabulary, known), calibration=_fits(loaded, name))


def _fits(loaded: Loaded, name: str) -> dict[str, Calibration]:
    file = loaded.config.llms[name].calibration
    return calibration.read(loaded.folder / file) if file else {}


def untrained(loaded: Loaded, name: str, vocabulary: Taxonomy, known: Callable[[str], bool]) -> Card:
    """That of an llm which was not trained on our prompts, when `known` are its tokens."""
    config = loaded.config.llms[name]
    return zero_shot.card(name, Path(), "", str(config.family), vocabulary, known, shows(loaded, name))


def shows(loaded: Loaded, name: str) -> int | None:
    """How many of the likeliest tokens the llm's engine lists; None where it scores any code."""
    kind = loaded.config.engines[loaded.config.llms[name].engine].kind
    if kind == "ollama":
        from workers.engines.ollama import Ollama  # slow to import

        return Ollama.shows
    if kind == "openai":
        from workers.engines.openai import OpenAi  # slow to import

        return OpenAi.shows
    return None


def _in_gguf(path: Path, draft: Card) -> Callable[[str], bool]:
    from workers.engines import gguf  # only commands about llms need engines
    from workers.engines.tokens import listed

    return listed(draft, gguf.tokens(path))


def _in_ollama(loaded: Loaded, name: str, draft: Card) -> Callable[[str], bool] | None:
    from workers.engines.ollama import Ollama  # slow to import

    config = loaded.config.llms[name]
    engine = Ollama(loaded.config.engines[config.engine].url, {name: config.model})
    try:
        return engine.vocabulary(draft)
    except EngineError:
        return None
    finally:
        engine.close()


def _digest(path: Path) -> str:
    if not path.is_file():
        raise EngineDown(f"There is no GGUF file at {path}.")
    return sha256(path)
