"""What the demo prints: examples, accuracy, out-of-scope tickets, speed, curl lines. Called by `demo`."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from models import metrics
from models.taxonomy import OTHER
from service.cli.common import counted, screen, visible
from service.cli.report import share, time_table

EXAMPLES = 12


def show(
    tickets: list[dict[str, Any]], report: dict[str, Any], llms: list[dict[str, Any]], fields: Mapping[str, int]
) -> None:
    """Everything about one demo run; `fields` is field -> number of its labels."""
    screen.print(_examples(tickets, fields))
    inside = [ticket for ticket in tickets if _truth(ticket, report["field"]) != OTHER]
    screen.print(_accuracy(inside, report["experiment"], fields))
    _outside([ticket for ticket in tickets if _truth(ticket, report["field"]) == OTHER], fields)
    for pair in report["pair"]:
        verdict = pair["verdict"]
        screen.print(
            f"Field {report['field']}, all {pair['n']} tickets, out of scope too, A = primary, B = fallback: "
            f"[bold]{verdict['sentence']}[/].",
            verdict["reason"],
        )
    screen.print(time_table(report))
    screen.print(
        f"wait_ms is time in the queue: all tickets were posted at once. The llms' times are of the field "
        f"{report['field']}; call_ms is the whole of its parts above."
    )
    _speed(tickets, len(fields))
    for llm in reversed(llms):
        screen.print(
            f"{llm['policy_role']}: {llm['name']}, engine {llm['engine']} {llm['engine_version']}, "
            f"weights {llm['digest'][:12]}, prompt {llm['prompt_version']}: a demo for one-sentence bank questions"
        )


def _truth(ticket: dict[str, Any], field: str) -> str | None:
    """The data set's label; None where it has none of this field."""
    return next((str(one["label"]) for one in ticket["verdicts"] if one["field"] == field), None)


def _decision(ticket: dict[str, Any], field: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in ticket["triage"] if one["field"] == field)
    return found


def _examples(tickets: list[dict[str, Any]], fields: Iterable[str]) -> Table:
    """Every n-th ticket, so that no choice flatters."""
    table = Table("ticket", *fields, title="Examples (evenly spaced, not chosen)")
    for ticket in tickets[:: max(1, len(tickets) // EXAMPLES)][:EXAMPLES]:
        table.add_row(visible(ticket["body"][:60]), *(_said(ticket, field) for field in fields))
    return table


def _said(ticket: dict[str, Any], field: str) -> str:
    """The decision with its confidence and action, and the truth where that is another label or unknown."""
    decision, truth = _decision(ticket, field), _truth(ticket, field)
    sure = f"{decision['confidence']:.2f}" + ("" if decision["calibrated"] else " uncalibrated")
    text = f"{decision['label']}\n{sure}, {decision['action']}"
    if truth is None:
        return f"{text}; no true label"
    return text if decision["label"] == truth else f"[red]{text}; truth: {truth}[/]"


def _accuracy(tickets: list[dict[str, Any]], experiment: dict[str, Any], fields: Mapping[str, int]) -> Table:
    """Primary, fallback and cascade on the same in-scope tickets; an in-scope ticket called `other` is an error."""
    headings = [f"{field}, {n} labels: accuracy (95 % interval, n)" for field, n in fields.items()]
    table = Table("who", *headings, title="Accuracy on in-scope tickets that the llms were not trained on")
    for role, name in (("primary", experiment["a"]), ("fallback", experiment["b"])):
        table.add_row(f"{role} alone", *(_share(_hits(tickets, field, name)) for field in fields))
    table.add_row("cascade as served", *(_share(_served(tickets, field)) for field in fields))
    return table


def _hits(tickets: list[dict[str, Any]], field: str, llm: str) -> list[bool]:
    said = [(p, _truth(ticket, field)) for ticket in tickets for p in ticket["predictions"] if p["field"] == field]
    return [p["label"] == truth for p, truth in said if p["llm"] == llm and truth is not None]


def _served(tickets: list[dict[str, Any]], field: str) -> list[bool]:
    pairs = [(_decision(ticket, field)["label"], _truth(ticket, field)) for ticket in tickets]
    return [label == truth for label, truth in pairs if truth is not None]


def _outside(tickets: list[dict[str, Any]], fields: Iterable[str]) -> None:
    """Whether a field has the label `other` or not, a person should see these tickets."""
    for field in fields if tickets else ():
        found = [_decision(ticket, field) for ticket in tickets]
        known = any(_truth(ticket, field) for ticket in tickets)
        called = f"called `{OTHER}` {_share(one['label'] == OTHER for one in found)}" if known else f"has no `{OTHER}`"
        kept = _share(one["action"] == "review" for one in found)
        screen.print(f"Out-of-scope tickets, field {field}: {called}; sent to a person {kept}")


def _share(hits: Iterable[bool]) -> str:
    listed = list(hits)
    found = metrics.proportion(sum(listed), len(listed))
    return share({"value": found.value, "low": found.low, "high": found.high, "n": found.n})


def _speed(tickets: list[dict[str, Any]], fields: int) -> None:
    """Tickets per second from the first one received to the last one recorded."""
    received = [datetime.fromisoformat(ticket["received_at"]).timestamp() for ticket in tickets]
    took = [max(one["time_to_label_ms"] for one in ticket["triage"]) / 1000 for ticket in tickets]
    ready = [at + seconds for at, seconds in zip(received, took, strict=True)]
    seconds = max(ready) - min(received)
    screen.print(
        f"{len(tickets)} tickets in {seconds:.1f} s, from the first received to the last recorded: "
        f"{len(tickets) / seconds:.0f} tickets/s, {counted(fields, 'field')} each"
    )


def show_curl(address: str, key: Path, stay: bool) -> None:
    """Lines to copy."""
    auth = f'-H "Authorization: Bearer $(cat {key})"'
    kind = "-H 'Content-Type: application/json'"
    screen.print("\nTry it yourself" + (":" if stay else " (run `make demo` on a terminal: it stays up there):"))
    for line in (
        f"curl -s {auth} {kind} -d '{{\"body\": \"My card has not arrived yet\"}}' '{address}/v1/tickets?wait=10'",
        f"curl -s {auth} '{address}/v1/tickets?label=refunds&limit=3'",
        f"curl -s {auth} {address}/v1/report",
    ):
        screen.print(line, soft_wrap=True, highlight=False, markup=False)
