"""Writes the demo's tickets from the public dev rows: `python -m models.llm.finetune.tickets --data DIR`."""

import argparse
import json
import random
from collections.abc import Iterator
from pathlib import Path

from models.llm.finetune.dataset import OTHER, queue_of, rows

DEMO = Path(__file__).parents[1] / "demo"
INSIDE = 950
OUTSIDE = 50
SEED = 0


def tickets(data: Path) -> list[dict[str, object]]:
    """A seeded choice of 950 banking77 dev rows and 50 out-of-scope ones of clinc150, mixed; texts are as published."""
    random_ = random.Random(SEED)
    outside = [row for row in rows(data / "clinc150" / "dev.jsonl") if row["label"] == "oos"]
    inside = random_.sample(list(_banking(data)), INSIDE)
    chosen = [*inside, *(_ticket(row, OTHER) for row in random_.sample(outside, OUTSIDE))]
    return random_.sample(chosen, len(chosen))


def _banking(data: Path) -> Iterator[dict[str, object]]:
    queue = queue_of(data)
    for row in rows(data / "banking77" / "dev.jsonl"):
        yield _ticket(row, queue[row["label"]])


def _ticket(row: dict[str, str], category: str) -> dict[str, object]:
    return {
        "id": row["id"],
        "subject": row["subject"],
        "body": row["body"],
        "label": {"category": category},
        "language": row["lang"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    lines = [json.dumps(ticket, ensure_ascii=False) for ticket in tickets(parser.parse_args().data)]
    (DEMO / "tickets.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
