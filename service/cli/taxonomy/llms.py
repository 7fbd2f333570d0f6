"""What lint has to know of each llm: from triage.yaml, cards, recipes, an Ollama that answers. For `taxonomy`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from models.errors import ConfigError, TriageError
from models.llm import memory
from models.llm.card import Card
from models.llm.codes import MOST
from models.taxonomy import Taxonomy
from service.cli.common import say
from service.cli.llm import cards
from service.settings import Loaded

if TYPE_CHECKING:
    from models.taxonomy_lint import Asked, Context

TOKEN_BYTES = 3  # of a label list: fewer than in any text of words, so the estimate is on the safe side


def asked(loaded: Loaded, taxonomy: Taxonomy) -> "list[Asked]":
    """The llms that policy or experiments ask."""
    return [one for name in loaded.config.asked if (one := _asked(loaded, name, taxonomy)) is not None]


def _asked(loaded: Loaded, name: str, taxonomy: Taxonomy) -> "Asked | None":
    """None for one whose weights are not there, which is doctor's business."""
    from models.taxonomy_lint import Asked  # scikit-learn takes a second to load

    shows = cards.shows(loaded, name)
    zero = loaded.config.llms[name].family is not None
    most = MOST * MOST if shows else None
    try:
        card = cards.asked(loaded, name, taxonomy)
    except ConfigError as error:
        too_many = zero and most is not None and any(len(one.labels) > most for one in taxonomy.fields_.values())
        return Asked(name, zero_shot=zero, most=most, broken=None if too_many else error.message)
    except TriageError:
        say(f"The llm {name} is left out: triage doctor says why.")
        return None
    context = _context(loaded, name, card)
    return Asked(name, card.codes, zero_shot=zero, most=most, context=context)


def _context(loaded: Loaded, name: str, card: Card) -> "Context | None":
    """None where no GPU of ours holds it: in a cloud, or on the CPU inside the worker."""
    config = loaded.config.llms[name]
    engine = loaded.config.engines[config.engine]
    if engine.kind != "ollama":
        return None
    from models.taxonomy_lint import Context
    from service.cli.llm.ollama_admin import PARAMETERS

    labels = -(-len(card.header.encode()) // TOKEN_BYTES)
    needed = memory.num_ctx(labels) if card.header else int(PARAMETERS["num_ctx"])
    told = _served(engine.url, config.model) or _recipe(config.model)
    if told is None:
        return Context(labels, needed, engine.parallel)
    kv = memory.kv_gib(*told.layers, told.given or needed, engine.parallel) if told.layers else None
    gib = None if kv is None else told.weights_gib + kv + memory.BUFFERS_GIB
    return Context(labels, needed, engine.parallel, told.given, told.longest, kv, gib)


@dataclass(frozen=True)
class _Told:
    """What is known of an llm in Ollama: the num_ctx that is set, and its layers, KV heads and their width."""

    weights_gib: float
    layers: tuple[int, int, int] | None
    longest: int | None
    given: int | None = None


def _recipe(model: str) -> _Told | None:
    found = memory.recipes().named(model)
    if found is None:
        return None
    shape = found.shape
    weights = shape.weights_gib(memory.recipes().bits[found.quantisation])
    return _Told(weights, (shape.layers, shape.kv_heads, shape.head_dim), shape.longest)


def _served(url: str, model: str) -> _Told | None:
    """As far as that Ollama answers, and has it."""
    from service.cli.llm import ollama_admin  # slow to import

    try:
        with ollama_admin.admin(url, timeout_s=5) as client:
            digest = ollama_admin.digest(client, model)
            size = next((one.size for one in client.list().models if digest and one.digest == digest), None)
            if size is None:
                return None
            shown = client.show(model)
    except TriageError:
        return None
    words = [line.split() for line in (shown.parameters or "").splitlines()]
    given = next((int(word[1]) for word in words if word[:1] == ["num_ctx"]), None)
    info = shown.modelinfo or {}
    return _Told(
        size / memory.GIB, _layers(info), info.get(f"{info.get('general.architecture')}.context_length"), given
    )


def _layers(info: Mapping[str, Any]) -> tuple[int, int, int] | None:
    """Of a GGUF's own description; without a width of its own a head has its share of the embedding."""
    kind = f"{info.get('general.architecture')}."
    layers, heads = info.get(f"{kind}block_count"), info.get(f"{kind}attention.head_count")
    wide = info.get(f"{kind}embedding_length")
    if not layers or not heads or not wide:
        return None
    width = info.get(f"{kind}attention.key_length") or wide // heads
    return int(layers), int(info.get(f"{kind}attention.head_count_kv") or heads), int(width)
