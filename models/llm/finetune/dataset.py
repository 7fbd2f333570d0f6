"""The public rows -> examples to fit, choose, calibrate and for the one final reading. Called by tiny.py.

The folder `data` holds banking77/{train,dev}.jsonl and queues.json, clinc150/{train,dev}.jsonl and labels.json.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from models.llm.text import prepare

OTHER = "other"
OTHER_ROWS = 1_000
# Banking rows of clinc150 would teach that banking is out of scope; so would its travellers' exchange rates.
_NOT_OTHER_DOMAINS = {"banking", "credit_cards"}
_NOT_OTHER_LABELS = {"exchange_rate", "oos"}


@dataclass(frozen=True)
class Example:
    """One row. `labels` is field -> label: category always, intent only for in-scope rows."""

    id: str
    text: str
    labels: dict[str, str]


def part(row_id: str) -> str:
    """fit (80 %), choose (10 %) or calibrate (10 %), by a hash of the id: stable under reordering and additions."""
    tenth = int.from_bytes(hashlib.sha256(row_id.encode()).digest()[:8], "big") % 10
    return "choose" if tenth == 8 else "calibrate" if tenth == 9 else "fit"


def labels(data: Path) -> dict[str, list[str]]:
    """field -> labels in a fixed order: the queues and `other`, and the intents in order of their queues."""
    queues = _queues(data)
    intents = [intent for queue in queues.values() for intent in queue]
    return {"category": [*queues, OTHER], "intent": intents}


def training(data: Path, seed: int = 0) -> dict[str, list[Example]]:
    """part -> examples of the train rows: banking77, clinc150's oos rows and 1,000 rows of its other domains."""
    domains = json.loads((data / "clinc150" / "labels.json").read_text(encoding="utf-8"))
    published = list(rows(data / "clinc150" / "train.jsonl"))
    foreign = [row for row in published if _is_foreign(row["label"], domains)]
    chosen = random.Random(seed).sample(sorted(foreign, key=lambda row: row["id"]), OTHER_ROWS)
    other = [row for row in published if row["label"] == "oos"] + chosen
    parts: dict[str, list[Example]] = {"fit": [], "choose": [], "calibrate": []}
    for example in [*_in_scope(data, "train"), *map(_other, other)]:
        parts[part(example.id)].append(example)
    return parts


def final(data: Path) -> tuple[list[Example], list[Example]]:
    """The dev rows, to be read once: banking77's, and clinc150's out-of-scope ones."""
    outside = [_other(row) for row in rows(data / "clinc150" / "dev.jsonl") if row["label"] == "oos"]
    return list(_in_scope(data, "dev")), outside


def queue_of(data: Path) -> dict[str, str]:
    """intent -> queue."""
    return {intent: queue for queue, intents in _queues(data).items() for intent in intents}


def rows(path: Path) -> Iterator[dict[str, str]]:
    """The rows of one published file, as they are."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def _is_foreign(label: str, domains: dict[str, dict[str, Any]]) -> bool:
    return label not in _NOT_OTHER_LABELS and domains[label].get("domain") not in _NOT_OTHER_DOMAINS


def _in_scope(data: Path, split: str) -> Iterator[Example]:
    queue = queue_of(data)
    for row in rows(data / "banking77" / f"{split}.jsonl"):
        yield Example(row["id"], _text(row), {"category": queue[row["label"]], "intent": row["label"]})


def _other(row: dict[str, str]) -> Example:
    return Example(row["id"], _text(row), {"category": OTHER})


def _text(row: dict[str, str]) -> str:
    return prepare(row["subject"], row["body"]).text


def _queues(data: Path) -> dict[str, list[str]]:
    content = json.loads((data / "banking77" / "queues.json").read_text(encoding="utf-8"))
    return {name: queue["intents"] for name, queue in content["queues"].items()}
