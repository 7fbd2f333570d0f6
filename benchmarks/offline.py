"""`triage classify` with a linear llm, from JSONL to JSONL on two cores, of short and of long tickets.

Called by bench.py. The llm is trained on the demo's tickets when it begins; it decides the category alone.
"""

import json
import os
import re
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from benchmarks.ratios import Window
from benchmarks.rounds import Absolute
from benchmarks.stage import CONFIG, Stage, category, environment, python
from benchmarks.tickets import labelled, texts, texts_of
from models.errors import TriageError
from service.children import bound

CORES = 2
FIELD = "category"
# As many tickets as two windows take where the target is met: starting the command is then a small part.
WINDOWS = 2
SHORT, LONG = 10_000, 1_500  # tickets a second
LONG_WORDS = 80  # the mean of questions people ask in a forum for support; the demo's have 12
FEWEST, PER_LABEL = 6, 100  # of a label, to learn from: in a short run, and for each second of a window
RATE = re.compile(rb": ([\d,]+) a second")


@contextmanager
def classify(stage: Stage, seconds: float) -> Iterator[list[Absolute]]:
    """Two files, and an llm that both are classified with."""
    folder = stage.folder / "offline"
    folder.mkdir()
    vocabulary, examples = folder / "taxonomy.yaml", folder / "examples.jsonl"
    vocabulary.write_bytes(category().document())
    _write(examples, _examples(max(FEWEST, round(PER_LABEL * seconds))))
    _triage("train", "linear", "--taxonomy", str(vocabulary), "--data", str(examples), "--out", str(folder / "linear"))
    files = {"short": (SHORT, texts()), "long": (LONG, texts_of(LONG_WORDS))}
    yield [
        Absolute(f"classify_linear_{name}", partial(_window, folder, name, round(WINDOWS * target * seconds), bodies))
        for name, (target, bodies) in files.items()
    ]


def _window(folder: Path, name: str, tickets: int, bodies: Iterator[str]) -> Window:
    """The whole command, from its start to its end, over a file that it has not seen."""
    source, found = folder / f"{name}.jsonl", folder / f"{name}.out.jsonl"
    _write(source, ({"id": str(n), "body": body} for n, body in enumerate(islice(bodies, tickets))))
    found.unlink(missing_ok=True)
    llm, vocabulary = f"linear:{folder / 'linear'}", folder / "taxonomy.yaml"
    began = time.perf_counter()
    said = _triage("classify", str(source), "--llm", llm, "--taxonomy", str(vocabulary), "--out", str(found))
    wall = time.perf_counter() - began
    lines = found.read_bytes().count(b"\n")
    if lines != tickets:
        raise TriageError(f"triage classify answered {lines} of {tickets} tickets.")
    facts = {"tickets": tickets, "seconds": wall, "without_start": _own_rate(said), "bytes": source.stat().st_size}
    return Window(name, tickets / wall, "tickets/s", facts)


def _own_rate(said: bytes) -> int | None:
    """What the command itself says, which begins to count when the llm is loaded."""
    match = RATE.search(said)
    return int(match[1].replace(b",", b"")) if match else None


def _examples(most: int) -> Iterator[dict[str, Any]]:
    """So many tickets of each label at most."""
    seen: Counter[str] = Counter()
    for ticket in labelled():
        label = ticket["label"][FIELD]
        seen[label] += 1
        if seen[label] <= most:
            yield {"body": ticket["body"], "label": {FIELD: label}}


def _write(path: Path, rows: Any) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def _triage(*words: str) -> bytes:
    """Runs the command on two cores and gives what it said; a Ctrl-C reaches only us, and it is bound to our life."""
    with _cores():
        done = subprocess.run(  # noqa: S603 (the command is ours and no shell reads it)
            bound(python("service.cli", *words), signal.SIGKILL),
            capture_output=True,
            check=False,
            start_new_session=True,
            env=environment(TRIAGE_CONFIG=str(CONFIG)),
        )
    if done.returncode != 0:
        lines = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise TriageError(f"triage {words[0]} failed: {lines[-1]}")
    return done.stderr


@contextmanager
def _cores() -> Iterator[None]:
    """What is started inside gets two cores, also where there are more; a system without affinities gives all."""
    if not hasattr(os, "sched_setaffinity"):
        yield
        return
    ours = os.sched_getaffinity(0)
    os.sched_setaffinity(0, set(sorted(ours)[:CORES]))
    try:
        yield
    finally:
        os.sched_setaffinity(0, ours)
