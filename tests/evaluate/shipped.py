"""The shipped tickets as labelled files."""

import json

from service.settings import DEMO_LLMS

BOTH = [json.loads(line) for line in (DEMO_LLMS / "tickets.jsonl").read_text().splitlines()]
SHIPPED = [row | {"label": {"category": row["label"]["category"]}} for row in BOTH]


def write(path, tickets):
    path.write_text("".join(json.dumps(ticket) + "\n" for ticket in tickets), encoding="utf-8")


def noisy(tickets):
    """Every third label wrong: whoever was right before is too sure now."""
    return [t | {"label": "other" if at % 3 == 0 else t["label"]["category"]} for at, t in enumerate(tickets)]
