"""The tokens of a GGUF, read from its header without its weights. Used by commands that load no llm.

The form is GGUF's own: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

import struct
from pathlib import Path
from typing import Any, BinaryIO

from models.errors import ConfigError, EngineDown

TOKENS = "tokenizer.ggml.tokens"
_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_TEXT, _LIST = 8, 9


def tokens(path: Path) -> set[str]:
    """Every token as it is written in the file. Raises EngineDown without a file, ConfigError for another kind."""
    try:
        with path.open("rb") as file:
            return _tokens(file)
    except OSError:
        raise EngineDown(f"There is no GGUF file at {path}.") from None
    except (struct.error, KeyError, UnicodeDecodeError, MemoryError, OverflowError, RecursionError):
        raise ConfigError(f"{path} is no GGUF file, or not a whole one.") from None


def _tokens(file: BinaryIO) -> set[str]:
    if file.read(4) != b"GGUF":
        raise KeyError
    _number(file, "I")
    _number(file, "Q")
    for _ in range(_number(file, "Q")):
        name, kind = _text(file), _number(file, "I")
        value = _value(file, kind)
        if name == TOKENS and isinstance(value, list) and all(isinstance(token, str) for token in value):
            return set(value)
    raise KeyError(TOKENS)


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _TEXT:
        return _text(file)
    if kind != _LIST:
        return _number(file, _NUMBERS[kind])
    of, count = _number(file, "I"), _number(file, "Q")
    return [_value(file, of) for _ in range(count)]


def _text(file: BinaryIO) -> str:
    length = _number(file, "Q")
    found = file.read(length)
    if len(found) < length:
        raise KeyError
    return found.decode("utf-8", "replace")


def _number(file: BinaryIO, form: str) -> Any:
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))[0]
