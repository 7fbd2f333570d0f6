"""A trained linear llm as a folder: the model, its card with what was measured, and a note on what it holds.

Called by `triage train linear`.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from models.llm.calibration import Calibration
from models.llm.calibration_key import LINEAR as ENGINE
from models.llm.calibration_key import key
from models.llm.card import LINEAR, LINEAR_CARD, sha256
from models.llm.linear.store import save
from models.llm.linear.training import Report, Trained
from models.whole import whole

PROMPT = "text-1"
NOTE = "ATTRIBUTION.md"
_VERSIONS = ("scikit-learn", "skops", "scipy", "numpy")


def write(trained: Trained, folder: Path, origin: Mapping[str, Any]) -> dict[str, Any]:
    """Writes the folder's files, the card last; gives the card. `origin` says from what it was trained, with hashes."""
    folder.mkdir(parents=True, exist_ok=True)
    save(trained.model, folder / LINEAR)
    card = _card(trained, folder.resolve().name, sha256(folder / LINEAR), origin)
    _text(folder / NOTE, _note(origin))
    _text(folder / LINEAR_CARD, json.dumps(card, indent=1, ensure_ascii=False) + "\n")
    return card


def _card(trained: Trained, name: str, digest: str, origin: Mapping[str, Any]) -> dict[str, Any]:
    reports = trained.reports
    codes = {field: {label: label for label in report.labels} for field, report in reports.items()}
    return {
        "name": name,
        "digest": digest,
        "family": "linear",
        "prompt_version": PROMPT,
        "codes": codes,
        "calibration": {
            field: _calibration(report, digest, field, codes[field])
            for field, report in reports.items()
            if report.temperature is not None
        },
        "trained_from": dict(origin),
        "fields": {field: asdict(report) for field, report in reports.items()},
        "versions": {package: metadata.version(package) for package in _VERSIONS},
    }


def _calibration(report: Report, digest: str, field: str, codes: Mapping[str, str]) -> dict[str, Any]:
    name, of = f"{digest[:8]}-{field}-{report.n_judged}", key(digest, ENGINE, PROMPT, field, codes)
    return Calibration(report.temperature, name, report.n_judged, of).document()


def _note(origin: Mapping[str, Any]) -> str:
    return (
        "# What this llm holds\n\n"
        f"It was trained by `triage train linear` from {origin['data']} (SHA-256 {origin['data_sha256']}).\n"
        "Its file holds words, pairs of words and pieces of words that stand in at least two of those tickets, and\n"
        "numbers for each: keep it where the tickets may be kept. What their licence asks of derived works, such as\n"
        "naming the source, it asks of this folder too.\n"
    )


def _text(path: Path, text: str) -> None:
    with whole(path) as part:
        part.write_text(text, encoding="utf-8")
