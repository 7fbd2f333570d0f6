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
from benchmarks.ratios import Round, ratios
from benchmarks.stage import Stage
from service.queue import connect

MEANING = {
    "intake_over_yardstick": "tickets taken in, over one bare INSERT per request",
    "intake_over_tutorial": "tickets taken in, over FastAPI, an ORM session and task.delay()",
    "intake_p99_over_yardstick": "99th percentile of latency at half of the yardstick's rate (less is better)",
    "drain_over_tutorial": "tickets worked off with an instant engine, over one Celery task per ticket",
    "service_over_timed_engine": "tickets worked off, over what 4 slots of 50 ms can do at best",
    "service_over_demo_llm": "tickets worked off with the demo's primary, over that llm called by itself",
    "one_token_over_json": "one token and all labels' log-probabilities, over 32 tokens, of the demo's fallback",
}
UNMEASURED = ("second_field_over_first", "claim_drain_over_empty", "filter_over_primary_key", "report_1m_over_100k")


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


def document(machine: dict[str, Any], rounds: Sequence[Round]) -> dict[str, Any]:
    """Ratios by name; absolute figures only inside the rounds."""
    return {"machine": machine, "ratios": ratios(rounds), "rounds": [one.as_json() for one in rounds]}


def write(path: Path, found: dict[str, Any]) -> None:
    """Whole or not at all."""
    unfinished = path.with_suffix(".tmp")
    unfinished.write_bytes(orjson.dumps(found, option=orjson.OPT_INDENT_2) + b"\n")
    unfinished.replace(path)


def table(found: dict[str, Any]) -> Table:
    """Every ratio for people; what has none says so."""
    made = Table("ratio", "median", "min", "max", "rounds", "what over what", title="Ratios of paired rounds A-B-B-A")
    counted = [one["name"] for one in found["rounds"] if one["ratio"] is not None]
    for name, meaning in MEANING.items():
        spread = found["ratios"].get(name)
        figures = [f"{spread[key]:.2f}" for key in ("median", "min", "max")] if spread else ["not measured", "", ""]
        made.add_row(name, *figures, str(counted.count(name)), meaning)
    return made
