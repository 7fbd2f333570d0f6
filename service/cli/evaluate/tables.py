"""What `evaluate` prints: one table for each field, a column for each llm or policy, and the commonest mistakes."""

from typing import Any

from rich.table import Table

from service.cli.common import notes, screen, visible
from service.pages import told
from service.pages.told import Result

PAIRS = 5


def show(found: dict[str, Any]) -> None:
    """Every figure with its n and, where it has one, its 95 % interval; what is to be known about them on stderr."""
    for sentence in found["notes"]:
        notes.print(visible(sentence), style="dim", highlight=False, soft_wrap=True)
    for field in dict.fromkeys(one["field"] for one in found["results"]):
        results = [one for one in found["results"] if one["field"] == field]
        screen.print(_figures(field, results))
        screen.print(_confused(field, results))


def _figures(field: str, results: list[Result]) -> Table:
    table = Table("figure", *(_named(one) for one in results), title=f"Field {field}")
    for name, words in told.rows(results).items():
        table.add_row(name, *words)
    return table


def _confused(field: str, results: list[Result]) -> Table:
    table = Table("who", "is", "was called", "how often", title=f"Commonest mistakes, field {field}")
    for one in results:
        for pair in one["confusions"][:PAIRS]:
            table.add_row(_named(one), pair["label"], pair["said"], f"{pair['n']} of {pair['of']}")
    return table


def _named(one: Result) -> str:
    demo = " (demo)" if any(pin["demo"] for pin in one["pins"]) else ""
    return visible(one["llm"]) + demo
