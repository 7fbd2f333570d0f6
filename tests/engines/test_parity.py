"""llama.cpp on the shipped GGUF files says what torch says with the same weights (finetune/parity.py)."""

import json
import math
from pathlib import Path

import pytest

import models.llm
from models.llm.card import load_card
from models.llm.prompt import render
from models.llm.text import prepare
from workers.engines.llamacpp import LlamaCpp

DEMO = Path(models.llm.__file__).parent / "demo"
TORCH = json.loads((Path(__file__).parents[1] / "llm" / "parity.json").read_text(encoding="utf-8"))
BODIES = {
    ticket["id"]: ticket["body"]
    for ticket in map(json.loads, (DEMO / "tickets.jsonl").read_text(encoding="utf-8").splitlines())
}
# The model cards name this bound.
PARITY = 0.03


@pytest.mark.parametrize("name", ["primary", "fallback"])
def test_probabilities_are_those_of_torch(name: str, tmp_path: Path) -> None:
    card = load_card(DEMO / f"{name}.gguf")
    engine = LlamaCpp(tmp_path, parallel=1)
    engine.load(card)
    differences, agreeing = [], []
    for field, rows in TORCH[name].items():
        codes = list(card.codes[field].values())
        for ticket, expected in rows.items():
            prompt = render(prepare("", BODIES[ticket]).text, field, card.prompt_version)
            logprobs = engine.score(card.name, prompt, codes).logprobs
            found = [logprobs[code] for code in codes]
            differences.append(max(abs(math.exp(a) - math.exp(b)) for a, b in zip(found, expected, strict=True)))
            agreeing.append(found.index(max(found)) == expected.index(max(expected)))
    engine.close()
    assert len(differences) == 64
    assert max(differences) < PARITY
    assert sum(agreeing) >= 62
    assert f"less than {PARITY}" in (DEMO / f"{name}.md").read_text(encoding="utf-8")
