"""What is to be known about the figures of an evaluation, a sentence each. Used by evaluate."""

from typing import Any

from service.cli.common import counted

NAMES_SHOWN = 5


def left_out(untrained: dict[str, str]) -> list[str]:
    whys = dict.fromkeys(untrained.values())
    return [f"Left out: {', '.join(name for name in untrained if untrained[name] == why)}. {why}" for why in whys]


def beside(fields: set[str]) -> list[str]:
    return [f"The taxonomy has no field {name}: its labels are not used." for name in sorted(fields)]


def overlapping(overlaps: dict[str, list[str]]) -> list[str]:
    return [
        f"--{name} holds {counted(len(names), 'test ticket')} too, so the figures flatter: "
        f"{', '.join(names[:NAMES_SHOWN])}{', ...' if len(names) > NAMES_SHOWN else ''}."
        for name, names in overlaps.items()
        if names
    ]


def unanswered(results: list[dict[str, Any]]) -> list[str]:
    return [
        f"{one['llm']}, field {one['field']}: {counted(n, 'ticket')} without an answer, counted nowhere ({why})."
        for one in results
        for why, n in one["unanswered"].items()
        if n
    ]


def refused(results: list[dict[str, Any]]) -> list[str]:
    """Temperatures that unseen rows did not confirm."""
    found = {
        (llm, one["field"]): fit
        for one in results
        for llm, fit in one["calibration"]["refit"].items()
        if not fit["accepted"]
    }
    return [
        f"{llm}, field {field}: the temperature {fit['temperature']:.3g} did not lower the NLL of unseen rows "
        "and is not used."
        for (llm, field), fit in found.items()
    ]
