"""The tokens in a GGUF's header: those that its tokenizer was written with; half a file gets a sentence."""

from pathlib import Path

import pytest
from gguf import GGUFReader

import models.llm
from models.errors import ConfigError, EngineDown
from workers.engines.gguf import tokens

GGUF = Path(models.llm.__file__).parent / "demo" / "primary.gguf"


def test_the_tokens_are_those_that_the_format_s_own_reader_finds() -> None:
    field = GGUFReader(GGUF).fields["tokenizer.ggml.tokens"]
    assert tokens(GGUF) == {bytes(field.parts[place]).decode() for place in field.data}


@pytest.mark.parametrize("size", [0, 3, 4, 20, 500, 5_000])
def test_half_a_file_is_refused(tmp_path: Path, size: int) -> None:
    half = tmp_path / "half.gguf"
    half.write_bytes(GGUF.read_bytes()[:size])
    with pytest.raises(ConfigError, match="no GGUF file, or not a whole one"):
        tokens(half)


def test_no_file_and_another_file(tmp_path: Path) -> None:
    with pytest.raises(EngineDown, match="no GGUF file at"):
        tokens(tmp_path / "none.gguf")
    other = tmp_path / "other.gguf"
    other.write_bytes(b"GGUF" + b"\xff" * 1_000)
    with pytest.raises(ConfigError):
        tokens(other)
