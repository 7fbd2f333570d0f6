"""classify: a file of tickets, without a database."""

import tempfile
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import track

from models import taxonomy
from models.errors import ConfigError
from service import settings
from service.cli import ticketfile
from service.cli.classify import answers
from service.cli.classify.answers import Shown
from service.cli.common import counted, notes, say
from service.cli.evaluate import llm_names
from service.config import PolicyConfig
from service.logs import configure
from service.settings import Loaded

if TYPE_CHECKING:
    from workers.llms import Llms

AHEAD = 64  # tickets in work while earlier ones are written


def register(app: typer.Typer) -> None:
    app.command()(classify)


def classify(
    file: Annotated[
        Path,
        typer.Argument(
            help="JSONL or CSV with body, and if you like id or external_id, subject; - reads JSONL from standard input"
        ),
    ],
    llm: Annotated[
        str | None, typer.Option(help="Ask only this llm, not the cascade: a name of triage.yaml, or KIND:VALUE")
    ] = None,
    labels: Annotated[Path | None, typer.Option("--taxonomy", help="The labels [default: that of triage.yaml]")] = None,
    out: Annotated[Path | None, typer.Option(help="A .jsonl or .csv file; without it standard output")] = None,
) -> None:
    """Classifies a file of tickets, without a database."""
    loaded = llm_names.load(settings.settings(), [llm] if llm else [])
    configure(loaded.settings.model_copy(update={"log_level": "warning"}))
    policy = _policy(loaded, llm)
    form = (out or file).suffix
    if out is not None and form not in ticketfile.FORMS:
        raise ConfigError(f"--out must end in {' or '.join(ticketfile.FORMS)}.")
    if out is not None and out.exists():
        raise ConfigError(f"{out} exists already: choose another name.")
    vocabulary = taxonomy.load(labels or loaded.taxonomy_path)
    tickets = list(ticketfile.read(file))
    ticketfile.write(_classified(loaded, policy, vocabulary, tickets, flat=form == ".csv"), out, form)


def _policy(loaded: Loaded, llm: str | None) -> PolicyConfig:
    """The policy as served, or one llm alone."""
    if llm is None:
        return loaded.config.policy
    return PolicyConfig(primary=llm, escalate_below=loaded.config.policy.escalate_below)


def _classified(
    loaded: Loaded, policy: PolicyConfig, vocabulary: taxonomy.Taxonomy, tickets: list[dict[str, Any]], *, flat: bool
) -> Iterator[dict[str, Any]]:
    from workers.llms import Llms  # only this command needs engines

    with tempfile.TemporaryDirectory(prefix="triage-llm-") as sockets:
        llms = Llms(loaded, policy.llms, Path(sockets))
        try:
            if not llms.load(vocabulary):
                raise ConfigError("; ".join(f"{one.name}: {one.error}" for one in llms.all.values() if one.error))
            started = time.perf_counter()
            decided = _decided(llms, policy, vocabulary, tickets)
            for ticket, found in zip(tickets, track(decided, "Classifying", len(tickets), console=notes), strict=True):
                yield answers.row(ticket, found, flat=flat)
            _say_rate(len(tickets), time.perf_counter() - started)
        finally:
            llms.close()


def _decided(
    llms: "Llms", policy: PolicyConfig, vocabulary: taxonomy.Taxonomy, tickets: list[dict[str, Any]]
) -> Iterator[Shown]:
    """Many at once where one linear llm decides alone, else as many as the engines serve."""
    texts = [(ticket.get("subject") or "", ticket["body"]) for ticket in tickets]
    if all(engine.kind == "linear" for engine in llms.engines):
        from service.cli.classify import batch  # needs numpy

        alone = batch.batch(llms, policy, vocabulary)
        if alone is not None:
            return batch.in_order(alone, texts)
    return _in_order(llms, policy, vocabulary, texts)


def _in_order(
    llms: "Llms", policy: PolicyConfig, vocabulary: taxonomy.Taxonomy, texts: list[tuple[str, str]]
) -> Iterator[Shown]:
    from service.cli.classify.steady import classify as ask  # only this command needs engines

    with ThreadPoolExecutor(llms.parallel) as pool:
        waiting: deque[Future[Any]] = deque()
        for subject, body in texts:
            waiting.append(pool.submit(ask, policy, llms, vocabulary, subject, body))
            if len(waiting) > AHEAD:
                yield _shown(waiting.popleft().result())
        while waiting:
            yield _shown(waiting.popleft().result())


def _shown(fields: dict[str, Any]) -> Shown:
    return answers.shown({name: outcome.decision for name, outcome in fields.items()})


def _say_rate(n: int, seconds: float) -> None:
    if n:
        say(f"{counted(n, 'ticket')} in {seconds:.1f} s: {n / seconds:,.0f} a second.")
