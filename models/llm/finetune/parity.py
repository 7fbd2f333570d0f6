"""Writes what torch says of the demo's first tickets: `python -m models.llm.finetune.parity --out FILE`.

Run by a person after training; tests/engines/test_parity.py compares llama.cpp with it.
"""

import argparse
import json
from pathlib import Path

from models.llm.card import load_card
from models.llm.finetune.reading import read
from models.llm.text import prepare

DEMO = Path(__file__).parents[1] / "demo"
TICKETS = 32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    said = {name: _ask(DEMO / f"{name}.gguf") for name in ("primary", "fallback")}
    parser.parse_args().out.write_text(json.dumps(said) + "\n", encoding="utf-8")


def _ask(gguf: Path) -> dict[str, dict[str, list[float]]]:
    """field -> ticket id -> raw log-probabilities in the order of the code map."""
    card = load_card(gguf)
    reading = read(gguf, {field: dict(labels) for field, labels in card.codes.items()}, card.prompt_version)
    lines = (DEMO / "tickets.jsonl").read_text(encoding="utf-8").splitlines()[:TICKETS]
    tickets = [json.loads(line) for line in lines]
    texts = [prepare(ticket["subject"], ticket["body"]).text for ticket in tickets]
    answers = {field: reading.ask(field, texts).round(4).tolist() for field in card.codes}
    return {
        field: {ticket["id"]: row for ticket, row in zip(tickets, rows, strict=True)} for field, rows in answers.items()
    }


if __name__ == "__main__":
    main()
