"""Reads the dev rows, once, when both llms are final: `python -m models.llm.finetune.evaluate --data DIR`.

Run by a person. Writes {primary,fallback}.md beside the llms. Nothing may be chosen by what this prints; whoever must
read a second time says so in modelcard.READINGS.
"""

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from models.llm.finetune import dataset, measure
from models.llm.finetune.dataset import OTHER, Example
from models.llm.finetune.modelcard import markdown
from models.llm.finetune.reading import Reading, read

DEMO = Path(__file__).parents[1] / "demo"
KEPT = 0.95


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder with banking77/ and clinc150/")
    parser.add_argument("--llms", type=Path, default=DEMO)
    given = parser.parse_args()
    figures = {name: evaluate(given.llms / f"{name}.gguf", given.data) for name in ("primary", "fallback")}
    pair = compare(figures["primary"]["hits"], figures["fallback"]["hits"])
    for name, own in figures.items():
        card = json.loads((given.llms / f"{name}.json").read_text(encoding="utf-8"))
        size = (given.llms / f"{name}.gguf").stat().st_size
        (given.llms / f"{name}.md").write_text(markdown(name, size, card, own, pair), encoding="utf-8")
        print(name, json.dumps({key: value for key, value in own.items() if key != "hits"}))  # noqa: T201
    print("pair", json.dumps(pair))  # noqa: T201 - the command's result


def evaluate(gguf: Path, data: Path) -> dict[str, Any]:
    """The figures of one llm on the dev rows; the threshold for out-of-scope rows comes from the calibrate rows."""
    card = json.loads(gguf.with_suffix(".json").read_text(encoding="utf-8"))
    reading = read(gguf, card["codes"], card["prompt_version"])
    inside, outside = dataset.final(data)
    keep = _threshold(reading, card, dataset.training(data)["calibrate"])
    label, confidence, right = _category(reading, card, inside)
    outer_label, outer_confidence, _ = _category(reading, card, outside)
    intents, right_intents = reading.of("intent", inside)
    return {
        "category": measure.share(right.tolist()),
        "called_other": measure.share((label == _other(card)).tolist()),
        "intent": measure.share((intents.argmax(axis=1) == np.array(right_intents)).tolist()),
        "ece": measure.ece(confidence, right),
        "ece_interval": measure.ece_interval(confidence, right),
        "ece_null_mean": measure.ece_null_mean(confidence),
        "threshold": keep,
        "kept": measure.share((confidence >= keep).tolist()),
        "outside_caught": measure.share(((outer_label == _other(card)) | (outer_confidence < keep)).tolist()),
        "outside_called_other": measure.share((outer_label == _other(card)).tolist()),
        "hits": right.tolist(),
    }


def compare(primary: list[bool], fallback: list[bool]) -> dict[str, Any]:
    """The two llms on the same in-scope rows."""
    only_primary, only_fallback, p = measure.mcnemar(primary, fallback)
    points = float(np.mean(fallback) - np.mean(primary)) * 100
    return {"points": points, "only_primary": only_primary, "only_fallback": only_fallback, "p": p}


def _threshold(reading: Reading, card: Mapping[str, Any], examples: list[Example]) -> float:
    """The confidence that 95 % of the in-scope calibrate rows reach."""
    inside = [example for example in examples if example.labels["category"] != OTHER]
    _, confidence, _ = _category(reading, card, inside)
    return float(np.quantile(confidence, 1 - KEPT))


def _category(reading: Reading, card: Mapping[str, Any], examples: list[Example]) -> tuple[np.ndarray, ...]:
    """Predicted label index, calibrated confidence and rightness of each example."""
    answers, right = reading.of("category", examples)
    scaled = answers / card["calibration"]["category"]["temperature"]
    scores = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    scores /= scores.sum(axis=1, keepdims=True)
    label = scores.argmax(axis=1)
    return label, scores.max(axis=1), label == np.array(right)


def _other(card: Mapping[str, Any]) -> int:
    return list(card["codes"]["category"]).index(OTHER)


if __name__ == "__main__":
    main()
