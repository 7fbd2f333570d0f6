"""A GGUF may be replaced under a worker that has it loaded: its llm goes on, with the weights that it loaded."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import models.llm

DEMO = Path(models.llm.__file__).parent / "demo"
SCORE_WHILE_IT_VANISHES = """
import sys
from pathlib import Path
from models.llm.card import load_card
from workers.engines.llamacpp import LlamaCpp

gguf = Path(sys.argv[1])
card = load_card(gguf)
codes = list(card.codes["intent"].values())
engine = LlamaCpp(gguf.parent, parallel=1)
engine.load(card)

def score(text):
    return engine.score(card.name, f"ticket\\n{text}\\n### intent:", codes).logprobs

before = score("lost card")
gguf.write_bytes(b"x" * (gguf.stat().st_size // 2))
between = score("no card")
gguf.write_bytes(b"")
after = score("lost card")
assert between != before, between
assert max(abs(before[code] - after[code]) for code in codes) < 1e-3, (before, after)
engine.close()
"""


@pytest.mark.parametrize("name", ["primary", "fallback"])
def test_a_gguf_overwritten_and_truncated_in_place_harms_no_loaded_llm(name: str, tmp_path: Path) -> None:
    """In a process of its own, because a mapped file would end it with SIGBUS: return code -7."""
    for source in (DEMO / f"{name}.gguf", DEMO / f"{name}.json"):
        shutil.copy(source, tmp_path)
    child = [sys.executable, "-c", SCORE_WHILE_IT_VANISHES, str(tmp_path / f"{name}.gguf")]
    ended = subprocess.run(child, capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
