"""The same llm trained several times, each with other folds: how much its figures owe to them. Used by evaluate."""

from collections.abc import Callable, Sequence
from typing import Any

from models import metrics
from models.taxonomy import Taxonomy
from service.cli.evaluate import measuring
from service.cli.evaluate.asking import opened
from service.cli.evaluate.llm_names import TRAINED
from service.config import Arm
from service.settings import Loaded
from workers.llms import Llms

Results = list[dict[str, Any]]
FIGURES = {"accuracy": "accuracy", "macro_f1": "macro-F1", "ece": "ECE", "nll": "NLL"}


def spread(
    first: Results,
    others: Sequence[Loaded],
    vocabulary: Taxonomy,
    over: measuring.Measured,
    refit: Callable[[Llms, list[str]], measuring.Fits],
) -> dict[str, Any]:
    """field -> figure -> its mean and range over all trainings; `first` are the results of the one that is shown."""
    runs = [[one for one in first if one["llm"] == TRAINED]] if others else []
    runs += [_again(one, vocabulary, over, refit) for one in others]
    return {results[0]["field"]: _ranges(results) for results in zip(*runs, strict=True)}


def told(found: dict[str, Any]) -> list[str]:
    """A sentence for each field."""
    return [
        f"{TRAINED}, field {field}, trained {one['n']} times with other folds: {_said(one)}."
        for field, one in found.items()
    ]


def _again(
    loaded: Loaded,
    vocabulary: Taxonomy,
    over: measuring.Measured,
    refit: Callable[[Llms, list[str]], measuring.Fits],
) -> Results:
    with opened(loaded, [TRAINED], vocabulary) as llms:
        fits = refit(llms, [TRAINED])
        return measuring.measure(llms, TRAINED, Arm(primary=TRAINED), over, fits)


def _ranges(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"n": len(results)} | {name: _range([one[name] for one in results]) for name in FIGURES}


def _range(values: list[float]) -> dict[str, Any]:
    return {"values": values, "mean": metrics.mean(values), "low": min(values), "high": max(values)}


def _said(one: dict[str, Any]) -> str:
    parts = ((words, one[name]) for name, words in FIGURES.items())
    return ", ".join(f"{words} {of['mean']:.4f} ({of['low']:.4f} to {of['high']:.4f})" for words, of in parts)
