"""One sentence that says whether the service is on. Pure; called by `home`."""

from collections.abc import Mapping
from typing import Any

from service.pages.shown import duration


def sentence(queue: Mapping[str, Any], workers: list[dict[str, Any]]) -> tuple[bool, str]:
    """Whether tickets are being classified, and why one may think so; `workers`: what live ones say of their llms."""
    waiting, working, oldest_s = queue["waiting"], queue["working"], queue["oldest_s"]
    lacks = sorted({lack for llms in workers for name, llm in llms.items() if (lack := _lack(name, llm))})
    if not workers:
        return False, f"No: no worker is running. Tickets are taken; {_waiting(waiting, oldest_s)}."
    busy = f", {working:,} being read" if working else ""
    if lacks:
        return False, f"Not fully: {'; '.join(lacks)}. {_waiting(waiting, oldest_s).capitalize()}{busy}."
    names = sorted({name for llms in workers for name in llms})
    count = "1 worker" if len(workers) == 1 else f"{len(workers)} workers"
    return True, f"Yes: {count} with {_and(names)} ready, {_waiting(waiting, oldest_s)}{busy}."


def _lack(name: str, llm: dict[str, Any]) -> str | None:
    if llm.get("error"):
        return f"{name} is not loaded ({llm['error'].rstrip('.')})"
    if llm.get("breaker"):
        return f"{name} is not asked for now ({llm['breaker'].rstrip('.')})"
    return None


def _waiting(waiting: int, oldest_s: float | None) -> str:
    if not waiting or oldest_s is None:
        return "no ticket is waiting"
    count = "1 ticket is" if waiting == 1 else f"{waiting:,} tickets are"
    return f"{count} waiting, the oldest for {duration(oldest_s)}"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
