"""What a calibration belongs to, as hashes that can be compared. Used by calibration, and by whoever makes one."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.llm.card import Card

LINEAR = "linear 1"
"""Its numbers come from our own code; scikit-learn only trains. Counted up when the code says something else."""
# What a build from source calls itself: nothing follows from it.
_NO_VERSION = ("0.0.0", "unknown")
_WORDS = {
    "weights": "other weights",
    "prompt": "another prompt",
    "header": "other words about the labels in the prompt",
    "labels": "other labels",
    "codes": "other codes",
    "field": "another field",
    "method": "another way of scoring codes",
}


@dataclass(frozen=True)
class Key:
    """What a calibration belongs to; with anything else, the same temperature says nothing.

    `weights` is the SHA-256 of the file, or what a server calls them. `engines` are those ("ollama 0.24.0") on which it
    was fitted, or which were seen to give the same scores. `prompt`, `header`, `codes` and `labels` are hashes.
    """

    weights: str
    engines: tuple[str, ...]
    prompt: str
    header: str
    codes: str
    labels: str
    field: str
    method: str

    def others(self, now: "Key") -> list[str]:
        """In words, what this was for that is something else `now`."""
        parts = [name for name in _WORDS if getattr(self, name) != getattr(now, name)]
        if "labels" in parts and "codes" in parts:
            parts.remove("codes")  # other labels have other codes
        (engine,) = now.engines
        same = engine in self.engines or (
            unsaid(engine) and engine.split()[0] in {one.split()[0] for one in self.engines}
        )
        return ([] if same else [_engine(self.engines, engine)]) + [_WORDS[name] for name in parts]


def unsaid(engine: str) -> bool:
    """Whether an engine does not say its version."""
    return engine.split(" ", 1)[1] in _NO_VERSION


def scored_by(kind: str, version: str, served: Sequence[str] = ()) -> str:
    """What of an engine a calibration depends on; of a server that names no version, the form in which it is asked."""
    if kind == "linear":
        return LINEAR
    return f"openai {served[0].rpartition('/')[2]}" if kind == "openai" and served else f"{kind} {version}"


def key_of(card: "Card", engine: str, name: str) -> Key:
    """What a calibration of one field of this llm, on this engine, belongs to."""
    codes = card.codes[name]
    return key(card.digest, engine, card.prompt_version, name, codes, card.header)


def key(weights: str, engine: str, prompt: str, name: str, codes: Mapping[str, str], header: str = "") -> Key:
    """The same from its parts."""
    return Key(
        weights=weights,
        engines=(engine,),
        prompt=_published(prompt),
        header=_hash(header) if header else "",
        codes=_hash(json.dumps(codes, sort_keys=True)),
        labels=labels_hash(codes),
        field=name,
        method="two-level" if any("/" in code for code in codes.values()) else "flat",
    )


def labels_hash(labels: Iterable[str]) -> str:
    """Of the ids alone: in which order they stand is no matter."""
    return _hash(json.dumps(sorted(labels)))


def _engine(before: Iterable[str], now: str) -> str:
    return f"another engine ({' or '.join(before)}, and this is {now})"


@cache
def _published(prompt_version: str) -> str:
    """Of the prompt's published files, all that begin with the version's name."""
    folder = files("models.llm") / "prompts"
    parts = sorted(
        (one.name, one.read_bytes()) for one in folder.iterdir() if one.name.startswith(f"{prompt_version}.")
    )
    return _hash(prompt_version + "".join(f"{name} {hashlib.sha256(part).hexdigest()}" for name, part in parts))


@lru_cache(256)
def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
