"""What the demo prints: examples, accuracy, out-of-scope tickets, speed, curl lines. Called by `demo`."""

from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.table import Table

from models import metrics
from models.taxonomy import OTHER
from service.cli.common import screen, visible
from service.cli.report import share, time_table

EXAMPLES = 12


def show(tickets: list[dict[str, Any]], report: dict[str, Any], llms: list[dict[str, Any]]) -> None:
    """Everything about one demo run."""
    screen.print(_examples(tickets))
    inside = [ticket for ticket in tickets if _truth(ticket) != OTHER]
    screen.print(_accuracy(inside, report["experiment"]))
    _outside([ticket for ticket in tickets if _truth(ticket) == OTHER])
    for pair in report["pair"]:
        verdict = pair["verdict"]
        screen.print(
            f"On all {pair['n']} tickets, out of scope too, A = primary, B = fallback: [bold]{verdict['sentence']}[/].",
            verdict["reason"],
        )
    screen.print(time_table(report))
    screen.print(
        "wait_ms is time in the queue: all tickets were posted at once. call_ms is the whole of its parts above."
    )
    _speed(tickets)
    for llm in reversed(llms):
        screen.print(
            f"{llm['policy_role']}: {llm['name']}, engine {llm['engine']} {llm['engine_version']}, "
            f"weights {llm['digest'][:12]}, prompt {llm['prompt_version']}: a demo for one-sentence bank questions"
        )


def _truth(ticket: dict[str, Any]) -> str:
    return str(ticket["verdicts"][-1]["label"])


def _decision(ticket: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = ticket["triage"][0]
    return found


def _examples(tickets: list[dict[str, Any]]) -> Table:
    """Every n-th ticket, so that no choice flatters."""
    table = Table("ticket", "queue", "confidence", "action", "truth", title="Examples (evenly spaced, not chosen)")
    for ticket in tickets[:: max(1, len(tickets) // EXAMPLES)][:EXAMPLES]:
        decision, truth = _decision(ticket), _truth(ticket)
        right = decision["label"] == truth
        sure = f"{decision['confidence']:.2f}" + ("" if decision["calibrated"] else " uncalibrated")
        text = visible(ticket["body"][:60])
        table.add_row(text, decision["label"], sure, decision["action"], truth, style=None if right else "red")
    return table


def _accuracy(tickets: list[dict[str, Any]], experiment: dict[str, Any]) -> Table:
    """Primary, fallback and cascade on the same in-scope tickets; an in-scope ticket called `other` is an error."""
    table = Table(
        "who", "accuracy (95 % interval, n)", title="Accuracy on the ten queues (tickets the llms were not trained on)"
    )
    for role, name in (("primary", experiment["a"]), ("fallback", experiment["b"])):
        judged = [(p["label"], _truth(ticket)) for ticket in tickets for p in ticket["predictions"] if p["llm"] == name]
        table.add_row(f"{role} alone", _share(label == truth for label, truth in judged))
    table.add_row("cascade as served", _share(_decision(t)["label"] == _truth(t) for t in tickets))
    return table


def _outside(tickets: list[dict[str, Any]]) -> None:
    if tickets:
        found = _share(_decision(ticket)["label"] == OTHER for ticket in tickets)
        kept = _share(_decision(ticket)["action"] == "review" for ticket in tickets)
        screen.print(f"Out-of-scope tickets: called `{OTHER}` {found}; sent to a person {kept}")


def _share(hits: Iterable[bool]) -> str:
    listed = list(hits)
    found = metrics.proportion(sum(listed), len(listed))
    return share({"value": found.value, "low": found.low, "high": found.high, "n": found.n})


def _speed(tickets: list[dict[str, Any]]) -> None:
    """Tickets per second from the first one received to the last one recorded."""
    received = [datetime.fromisoformat(ticket["received_at"]).timestamp() for ticket in tickets]
    ready = [at + _decision(t)["time_to_label_ms"] / 1000 for at, t in zip(received, tickets, strict=True)]
    seconds = max(ready) - min(received)
    screen.print(
        f"{len(tickets)} tickets in {seconds:.1f} s, from the first received to the last recorded: "
        f"{len(tickets) / seconds:.0f} tickets/s"
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
