"""A linear llm as a file: skops, with arrays of numbers and texts in it and nothing that could run. Used by the engine.

A pickle runs whatever its author wrote into it. This file is read only if every type in it is one that we write.
"""

import json
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import skops.io

from models.errors import ConfigError
from models.llm.linear.features import Vocabulary, Weighting
from models.llm.linear.model import Head, LinearModel
from models.whole import whole

FORM = 1
SCHEMA = "schema.json"
TYPES = {"builtins.dict", "builtins.list", "builtins.tuple", "builtins.str", "builtins.int", "numpy.ndarray"}
# How skops calls what stands for a JSON value, a mapping's list of key types, and a type as such.
_PLUMBING = {"builtins.type", "builtins.NoneType"}

_PLACE = re.compile(r'("__id__": |"file": ")(\d+)')


def save(model: LinearModel, path: Path) -> None:
    """Writes the file, whole or not at all."""
    heads = {
        name: {
            "labels": list(head.labels),
            "outside": list(head.outside),
            "matrix": head.matrix.astype(np.float32),
            "bias": head.bias.astype(np.float32),
        }
        for name, head in model.heads.items()
    }
    content = {
        "form": FORM,
        "words": _bytes(model.vocabulary.words),
        "pieces": _bytes(model.vocabulary.pieces),
        "idf": list(model.weighting.idf),
        "fields": heads,
    }
    with whole(path) as part:
        skops.io.dump(content, part)
        _settle(part)


def _settle(path: Path) -> None:
    """Compresses the file, and makes it depend on the llm alone: the same training gives the same SHA-256.

    skops names everything by where it lay in memory, and a zip dates its entries.
    """
    with zipfile.ZipFile(path) as file:
        entries = {name: file.read(name) for name in file.namelist()}
    schema = entries.pop(SCHEMA).decode()
    numbers = {place: str(at) for at, place in enumerate(dict.fromkeys(found[1] for found in _PLACE.findall(schema)))}
    named = {SCHEMA: _PLACE.sub(lambda found: found[1] + numbers[found[2]], schema).encode()}
    named |= {f"{numbers[name.removesuffix('.npy')]}.npy": array for name, array in entries.items()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file:
        for name in sorted(named):
            file.writestr(zipfile.ZipInfo(name), named[name], zipfile.ZIP_DEFLATED, compresslevel=1)


def load(path: Path) -> LinearModel:
    """Reads the file; raises ConfigError with a sentence for a foreign type and for what is no such file."""
    foreign = types(path) - TYPES - _PLUMBING
    if foreign:
        raise ConfigError(
            f"{path} holds {', '.join(sorted(foreign))}, which no linear llm has: it is not loaded. Train it anew."
        )
    try:
        return _model(skops.io.load(path, trusted=[]))
    except (AttributeError, KeyError, TypeError, ValueError, OSError, zipfile.BadZipFile) as error:
        raise _broken(path, error) from None


def types(path: Path) -> set[str]:
    """The full name of every type that a skops file would make, read without making any."""
    try:
        with zipfile.ZipFile(path) as file:
            return _named(json.loads(file.read(SCHEMA)))
    except (KeyError, ValueError, OSError, RecursionError, zipfile.BadZipFile) as error:
        raise _broken(path, error) from None


def _named(node: Any) -> set[str]:
    inner = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    found = set().union(*map(_named, inner))
    if isinstance(node, dict) and isinstance(node.get("__class__"), str):
        found.add(f"{node.get('__module__')}.{node['__class__']}")
    return found


def _model(content: dict[str, Any]) -> LinearModel:
    if content["form"] != FORM:
        raise ValueError(f"form {content['form']} is not {FORM}")
    heads = {
        name: Head(tuple(head["labels"]), tuple(head["outside"]), head["matrix"], head["bias"])
        for name, head in content["fields"].items()
    }
    found = LinearModel(
        Vocabulary(_texts(content["words"]), _texts(content["pieces"])), Weighting(content["idf"]), heads
    )
    _check(found)
    return found


def _check(model: LinearModel) -> None:
    """A file whose parts do not fit together must not wait for the first ticket to say so."""
    own = [len(model.vocabulary.words), len(model.vocabulary.pieces)]
    if [len(idf) for idf in model.weighting.idf] != own:
        raise ValueError("terms and their weights differ in number")
    for name, head in model.heads.items():
        if head.matrix.shape != (sum(own), len(head.labels)) or head.bias.shape != (len(head.labels),):
            raise ValueError(f"the weights of field {name} have the wrong shape")
        if not (np.isfinite(head.matrix).all() and np.isfinite(head.bias).all()):
            raise ValueError(f"the weights of field {name} are not all numbers")


def _bytes(terms: Sequence[str]) -> np.ndarray:
    """No term holds a line break, since a prepared text is one line."""
    return np.frombuffer("\n".join(terms).encode(), dtype=np.uint8)


def _texts(content: np.ndarray) -> list[str]:
    text = content.tobytes().decode()
    return text.split("\n") if text else []


def _broken(path: Path, error: Exception) -> ConfigError:
    return ConfigError(f"{path} is not a linear llm that triage train linear wrote ({error}).")
