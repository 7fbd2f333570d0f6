"""What stays of a benchmark: the machine, the file, the table. Called by bench.py."""

import os
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import psutil
from rich.table import Table

from benchmarks import load
from benchmarks.ratios import Measured, figures, ratios
from benchmarks.stage import Stage
from service.queue import connect

MEANING = {
    "intake_over_yardstick": "tickets taken in, over one bare INSERT per request",
    "intake_over_tutorial": "tickets taken in, over FastAPI, an ORM session and task.delay()",
    "intake_p99_over_yardstick": "99th percentile of latency at half of the yardstick's rate (less is better)",
    "drain_over_tutorial": "tickets worked off with an instant engine, over one Celery task per ticket",
    "service_over_timed_engine": "tickets worked off, over what 4 slots of 50 ms can do at best",
    "service_over_demo_llm": "tickets worked off with the demo's primary, over that llm called by itself",
    "one_token_over_json": "one token with all log-probabilities, over {JSON} tokens of JSON; ticket of 12 words",
    "one_token_over_json_300_words": "the same, ticket of 300 words",
    "one_token_over_json_larger_llm": "the same, ticket of 12 words, with an llm that costs ten times as much",
    "one_token_over_json_larger_llm_300_words": "the same, ticket of 300 words",
    "one_token_over_json_new_ticket": "with the fallback again, ticket of 12 words that it did not read before",
    "one_token_over_json_new_ticket_300_words": "the same, ticket of 300 words that was not read before",
    "second_field_over_first": "time of a ticket's second question, over its first, from 300 tokens (less is better)",
    "filter_over_primary_key": "the slowest filter of a list of a million tickets, over one ticket (less is better)",
    "claim_drain_over_empty": "p99 of claims of a drain of 100,000 with 1 M done, over an empty table (less is better)",
    "claim_drain_over_empty_snapshot": "the same while a transaction is open that began before (less is better)",
    "report_1m_over_100k": "the report over a million predictions, over a hundred thousand (less is better)",
}
ABSOLUTE = {
    "report_1m": "ms of the report over a million predictions, half of the tickets judged",
    "report_catch_up": "s to count a million predictions for it once, all at one time",
    "memory_api_and_worker": "MB of an API and a worker without an llm (PSS), after 10,000 tickets",
    "classify_linear_short": "tickets/s of `triage classify` with linear: the demo's tickets of 12 words, 2 cores",
    "classify_linear_long": "the same, tickets of 80 words put together from the demo's",
}
SPREAD = ("median", "min", "max")


def machine(stage: Stage) -> dict[str, Any]:
    """Where and with what it was measured, and how busy the machine was before."""
    ((postgres,),) = stage.sql("ours", "SHOW server_version")
    with connect(stage.urls.redis_url) as redis:
        found: Any = redis.info("server")
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory": f"{psutil.virtual_memory().total / 2**30:.1f} GiB",
        "python": platform.python_version(),
        "postgres": str(postgres).split()[0],
        "redis": found["redis_version"],
        "generator": load.generator(),
        "load_at_start": round(os.getloadavg()[0], 2),
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _cpu() -> str:
    """The processor's name; Python itself knows only its family."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def document(machine: dict[str, Any], rounds: Sequence[Measured]) -> dict[str, Any]:
    """Ratios by name, and apart from them what is absolute and so the machine's."""
    found = {"ratios": ratios(rounds), "figures": figures(rounds)}
    return {"machine": machine} | found | {"rounds": [one.as_json() for one in rounds]}


def write(path: Path, found: dict[str, Any]) -> None:
    """Whole or not at all."""
    unfinished = path.with_suffix(".tmp")
    unfinished.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    unfinished.replace(path)


def table(found: dict[str, Any]) -> Table:
    """Every ratio for people; what has none says so."""
    made = Table("ratio", *SPREAD, "rounds", "what over what", title="Ratios of paired rounds A-B-B-A")
    tokens = _tokens(found["rounds"])
    for name, meaning in MEANING.items():
        made.add_row(*_row(found, "ratios", name, ".2f"), meaning.replace("{JSON}", tokens))
    return made


def absolute(found: dict[str, Any]) -> Table:
    """Every absolute figure, under the name of the machine that it holds for."""
    one = found["machine"]
    made = Table("figure", *SPREAD, "runs", "of what", title=f"Absolute, on {one['cpu']}, {one['cores']} cores")
    for name, meaning in ABSOLUTE.items():
        made.add_row(*_row(found, "figures", name, ",.0f"), meaning)
    return made


def _row(found: dict[str, Any], kind: str, name: str, form: str) -> list[str]:
    spread = found[kind].get(name)
    shown = [format(spread[key], form) for key in SPREAD] if spread else ["not measured", "", ""]
    counted = [one for one in found["rounds"] if one["name"] == name and one["void"] is None]
    return [name, *shown, str(len(counted))]


def _tokens(rounds: Sequence[dict[str, Any]]) -> str:
    """How long the JSON answer was."""
    windows = [window for one in rounds for window in one["windows"] if window["side"] == "JSON"]
    return str(windows[0]["facts"]["tokens"]) if windows else "the"
