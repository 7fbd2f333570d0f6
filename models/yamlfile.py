"""A YAML file in its shape, or a sentence that names the file and the place. Used for triage.yaml and taxonomy.yaml."""

from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from models.errors import ConfigError

Shape = TypeVar("Shape", bound=BaseModel)
BOUNDS = {"too_short": ("at least", "min_length"), "too_long": ("at most", "max_length")}


class _Strict(yaml.CSafeLoader):
    """Refuses a key that stands twice: YAML would let the last one win, and nobody would see it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value for key, _ in node.value]
        double = next((key for key in keys if keys.count(key) > 1 and key != "<<"), None)
        if double is not None:
            raise yaml.constructor.ConstructorError(None, None, f"the key {double!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def read(path: Path, shape: type[Shape], hint: str = "") -> Shape:
    """The file's content, validated; raises ConfigError. `hint` says what to do when the file is not there."""
    try:
        return shape.model_validate(yaml.load(path.read_text("utf-8"), _Strict))  # noqa: S506 (a safe loader)
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}){hint}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not valid YAML: {_said(error)}.") from None
    except ValidationError as error:
        raise ConfigError(f"{path} is wrong{_what(error.errors()[0])}.") from None


def _said(error: Exception) -> str:
    """The parser's words on one line; it names no file."""
    return " ".join(str(error).replace('in "<unicode string>", ', "at ").split())


def _what(error: Any) -> str:
    """Where and what; a check of the whole file has no place."""
    place = ".".join(map(str, error["loc"]))
    if not place and error["type"] == "model_type":
        return " at its top: it must be a mapping"
    return f" at {place}: {_plain(error)}" if place else f": {_plain(error)}"


def _plain(error: Any) -> str:
    if error["type"] in BOUNDS:
        words, bound = BOUNDS[error["type"]]
        return f"it must have {words} {error['ctx'][bound]} items, and has {error['ctx']['actual_length']}"
    return "unknown key" if error["type"] == "extra_forbidden" else str(error["msg"]).removeprefix("Value error, ")
