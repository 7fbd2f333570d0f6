"""A YAML file in its shape, or a sentence that names the file and the place. Used for triage.yaml and taxonomy.yaml."""

import io
from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from models.errors import ConfigError

Shape = TypeVar("Shape", bound=BaseModel)
BOUNDS = {"too_short": ("at least", "min_length"), "too_long": ("at most", "max_length")}


DEEPEST = 100  # libyaml ends the whole process at some thousands, and Python's own parser fails at some hundreds


class _Strict(yaml.constructor.SafeConstructor):
    """Refuses a key that stands twice: YAML would let the last one win, and nobody would see it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: list[Any] = []
        for key, _ in node.value:
            if key.value in seen and key.value != "<<":
                raise _wrong(f"the key {key.value!r} stands twice", key)
            seen.append(key.value)
        return super().construct_mapping(node, deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        """What a node means. PyYAML lets out whatever Python raised over a month 13 or an `!!int` without digits."""
        try:
            return super().construct_object(node, deep)
        except (ValueError, LookupError, AttributeError, ArithmeticError):
            raise _wrong(f"the value is no valid {node.tag.rpartition(':')[2]}", node) from None


# PyYAML may have been built without libyaml, which is only faster.
_Loader: Any = type("_Loader", (_Strict, getattr(yaml, "CSafeLoader", yaml.SafeLoader)), {})


def read(path: Path, shape: type[Shape], hint: str = "") -> Shape:
    """The file's content, validated; raises ConfigError. `hint` says what to do when the file is not there."""
    try:
        return shape.model_validate(_content(path.read_text("utf-8")))
    except OSError as error:
        raise ConfigError(f"{path} cannot be read ({error.strerror}){hint}.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path} is not UTF-8 text; convert it first.") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not valid YAML: {_said(error)}.") from None
    except ValidationError as error:
        # What is missing may be there under a misspelt name, which says more.
        first = min(error.errors(), key=lambda one: one["type"] != "extra_forbidden")
        raise ConfigError(f"{path} is wrong{_what(first)}.") from None


def _content(text: str) -> Any:
    """From streams, of which no parser repeats a line in its errors: it may hold a secret."""
    depth = 0
    for event in yaml.parse(io.StringIO(text), _Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise _wrong(f"it is nested deeper than {DEEPEST}", event)
    return yaml.load(io.StringIO(text), _Loader)  # noqa: S506 (a safe loader)


def _wrong(what: str, at: Any) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, what, at.start_mark)


def _said(error: Exception) -> str:
    """The parser's words on one line; it names no file."""
    return " ".join(str(error).replace('in "<file>", ', "at ").split())


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
