"""What an llm takes of a GPU, by formula, and the recipes of stock chat models with it. Called by `taxonomy lint`."""

from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from models import yamlfile

FOLDER = Path(__file__).with_name("recipes")
GIB = 1 << 30
TICKET, REST, STEP = 768, 64, 1024
"""Tokens of a ticket, of the question and what stands around it; a context is a multiple of the last."""
KV_BYTES = 2  # an f16 for each number
BUFFERS_GIB = 1.0  # what computing takes beside weights and KV
USABLE = 0.95  # of a card; the driver and the screen have the rest
CARDS = (4, 6, 8, 12, 16, 24, 32, 48, 80)


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Shape(_Strict):
    """What memory depends on. `longest` is the context that the llm was trained for."""

    parameters: int
    layers: int
    kv_heads: int
    head_dim: int
    longest: int

    def weights_gib(self, bits: float) -> float:
        """Of weights with so many bits each."""
        return self.parameters * bits / 8 / GIB

    def kv_gib(self, num_ctx: int, slots: int) -> float:
        """Of the keys and values of every token in every slot."""
        return kv_gib(self.layers, self.kv_heads, self.head_dim, num_ctx, slots)


class Memory(_Strict):
    """The formulas' results, in GiB; `gpu` is the smallest usual card."""

    weights_gib: float
    kv_gib: float
    gpu: int


class Recipe(_Strict):
    """One stock chat model in Ollama."""

    title: str
    source: str
    family: Literal["mistral", "llama3"]
    ollama: str
    shape: Shape
    quantisation: str
    num_ctx: int
    slots: int
    memory: Memory
    licence: str
    run_here: bool


class Cloud(_Strict):
    """One vendor's model."""

    title: str
    model: str
    data: str
    licence: str
    run_here: bool


class Recipes(_Strict):
    """The file."""

    bits: dict[str, float]
    recipes: dict[str, Recipe]
    clouds: dict[str, Cloud]
    licences: dict[str, str]

    def named(self, model: str) -> Recipe | None:
        """The recipe of a model by its name in Ollama: that of the library, or that of its Modelfile here."""
        name = model.removesuffix(":latest")
        return next((one for key, one in self.recipes.items() if name in (one.ollama, f"triage-{key}")), None)


@cache
def recipes() -> Recipes:
    """The recipes that come with Triage."""
    return yamlfile.read(FOLDER / "recipes.yaml", Recipes)


def kv_gib(layers: int, kv_heads: int, head_dim: int, num_ctx: int, slots: int) -> float:
    """A key and a value for each layer and head, of every token in every slot."""
    return 2 * layers * kv_heads * head_dim * KV_BYTES * num_ctx * slots / GIB


def num_ctx(label_tokens: int) -> int:
    """The context for label lists of so many tokens, a ticket and the question."""
    return -(-(label_tokens + TICKET + REST) // STEP) * STEP


def card(weights_gib: float, kv_gib: float) -> int | None:
    """The smallest usual card that holds them, in GiB; None when none does."""
    needed = weights_gib + kv_gib + BUFFERS_GIB
    return next((size for size in CARDS if needed <= size * USABLE), None)
