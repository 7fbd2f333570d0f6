"""The demo llms' cards with the first field alone: engines ask a server about each code, and the second has 77."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from models.llm.card import Card, load_card
from service.settings import DEMO_LLMS

FIELD = "category"


def card_of(name: str) -> Card:
    """The card of the demo's `primary` or `fallback`."""
    card = load_card(DEMO_LLMS / f"{name}.gguf")
    return replace(card, codes={FIELD: card.codes[FIELD]}, calibration={FIELD: card.calibration[FIELD]})


def write_card(folder: Path, name: str, **more: Any) -> str:
    """The same as a file in the folder; its name."""
    card = json.loads((DEMO_LLMS / f"{name}.json").read_text("utf-8")) | more
    for part in ("codes", "calibration"):
        card[part] = {FIELD: card[part][FIELD]}
    (folder / f"{name}.json").write_text(json.dumps(card), "utf-8")
    return f"{name}.json"
