"""doctor: what is configured, reachable and warm; each failing line says what to do."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx
import typer
from redis import RedisError
from rich.markup import escape
from rich.table import Table
from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

import migrations
from models import taxonomy
from models.db import only_reads
from models.errors import TriageError
from models.llm import policy
from service import settings
from service.cli.common import (
    DataDir,
    Json,
    counted,
    database_url,
    local_address,
    one_transaction,
    print_json,
    redis_url,
    screen,
)
from service.cli.llm import cards, confidence
from service.cli.llm import command as llm
from service.config import SERVERS, Arm
from service.experiments.assignment import require_fields
from service.experiments.rollups.roll import behind
from service.helpdesks import build_all
from service.intake.last_write import READS
from service.queue import connect
from service.settings import FINGERPRINT, PREFIX, Loaded, Settings, connection_secrets
from service.tickets.backlog import backlog

NEARLY_FULL = 0.8
LONG_BEHIND_S = 6 * 3600


@dataclass(frozen=True)
class Line:
    """One thing that was looked at."""

    what: str
    ok: bool
    says: str


def register(app: typer.Typer) -> None:
    app.command()(doctor)


def doctor(data_dir: DataDir = None, json: Json = False) -> None:
    """Looks at everything the service needs; exit 1 if anything fails."""
    lines = examine(data_dir)
    if json:
        print_json([vars(line) for line in lines])
    else:
        table = Table("", "what", "says")
        for line in lines:
            table.add_row(
                "ok" if line.ok else "FAIL", escape(line.what), escape(line.says), style=None if line.ok else "bold red"
            )
        screen.print(table)
        screen.print(settings_table(settings.settings(data_dir=data_dir)))
    if not all(line.ok for line in lines):
        raise typer.Exit(1)


def examine(data_dir: Any) -> list[Line]:
    """Every check; the later ones only if the configuration could be read."""
    try:
        loaded = settings.load(data_dir=data_dir)
    except TriageError as error:
        return [Line("configuration", False, error.message)]
    checks: dict[str, Callable[[Loaded], str]] = {
        "taxonomy": _taxonomy,
        "connections": _connections,
        **{f"llm {name}": partial(_llm, name) for name in loaded.config.llms},
        **{f"confidence of {name}": partial(_confidence, name) for name in loaded.config.llms},
        **{f"calibration of {w}": partial(_own, arm) for w, arm in loaded.config.arms.items() if arm.calibration},
        "Postgres": _postgres,
        "queue": _queue,
        "report": _report,
        "Redis": _redis,
        "API": _api,
    }
    return [Line("configuration", True, str(loaded.settings.config)), *(_try(w, c, loaded) for w, c in checks.items())]


def _try(what: str, check: Callable[[Loaded], str], loaded: Loaded) -> Line:
    try:
        return Line(what, True, check(loaded))
    except TriageError as error:
        return Line(what, False, error.message)


def _taxonomy(loaded: Loaded) -> str:
    found = taxonomy.load(loaded.taxonomy_path)
    require_fields(loaded.config, found.fields_)
    for name in loaded.config.llms:
        _require_trained(name, loaded, found)
    return ", ".join(f"{name}: {len(field.labels)} labels" for name, field in found.fields_.items())


def _require_trained(name: str, loaded: Loaded, vocabulary: taxonomy.Taxonomy) -> None:
    """That the llm has a code for every label; one whose card cannot be read has a line of its own."""
    try:
        codes = cards.card(loaded, name).codes
    except TriageError:
        return
    labels = [(field, label.id) for field, found in vocabulary.fields_.items() for label in found.labels]
    missing = [label for field, label in labels if label not in codes.get(field, {})]
    if missing:
        raise TriageError(f"The llm {name} was not trained on {', '.join(missing[:5])}: change one of the two.")


def _connections(loaded: Loaded) -> str:
    return ", ".join(build_all(loaded.config.connections, connection_secrets())) or "none"


def _llm(name: str, loaded: Loaded) -> str:
    card = cards.card(loaded, name)
    if loaded.config.llms[name].family is not None:
        cards.asked(loaded, name)  # whether its own vocabulary has codes for all labels
    return f"{llm.state(loaded, name, card)}, prompt {card.prompt_version}" + (", a demo" if card.demo else "")


def _confidence(name: str, loaded: Loaded) -> str:
    """How far it can be believed; a calibration that is there and does not count is to be mended."""
    try:
        found = confidence.states(loaded, name, cards.card(loaded, name), taxonomy.load(loaded.taxonomy_path))
    except TriageError:
        return "not known, for what another line says"
    if any(state["why"] for state in found.values()):
        raise TriageError(confidence.told(found))
    return confidence.told(found)


def _own(arm: Arm, loaded: Loaded) -> str:
    """Whether a policy's own calibration is for its llms and labels; what a server holds, only a worker knows."""
    assert arm.calibration is not None  # noqa: S101 (its caller looked)
    assert arm.fallback is not None  # noqa: S101 (an arm without one has no calibration)
    own = policy.read(loaded.folder / arm.calibration)
    kinds = {loaded.config.engines[loaded.config.llms[name].engine].kind for name in (arm.primary, arm.fallback)}
    if not kinds.isdisjoint(SERVERS):
        return "there; the worker's log says policy.uncalibrated where it does not count"
    names = (arm.primary, arm.fallback)
    primary, fallback = (confidence.counting(loaded, name, cards.card(loaded, name)) for name in names)
    fields = taxonomy.load(loaded.taxonomy_path).fields_
    for name in own.fields.keys() & fields.keys():
        ids = [label.id for label in fields[name].labels]
        own.temperatures(name, policy.basis(primary, fallback, name, ids, arm.combine, arm.escalate_below))
    without = [name for name in fields if name not in own.fields]
    return "valid" + (f"; there is none for {', '.join(without)}" if without else "")


def _postgres(loaded: Loaded) -> str:
    url = database_url(loaded.settings)
    with one_transaction(url) as session:
        version = session.scalar(text("SHOW server_version"))
        reads = only_reads(session)
    found, wanted = migrations.current(url), migrations.head()
    if found != wanted:
        raise TriageError(f"The database is at schema {found}, this version needs {wanted}: run triage migrate.")
    if reads:
        raise TriageError(READS)
    return f"Postgres {version}, schema {found}"


def _queue(loaded: Loaded) -> str:
    limit = loaded.settings.queue_limit
    with one_transaction(database_url(loaded.settings)) as session:
        waiting = backlog(session, limit)["waiting"]
    if waiting >= NEARLY_FULL * limit:
        raise TriageError(
            f"{min(waiting, limit)} tickets wait, and at {limit} new ones get 429: start another triage worker, or "
            "raise TRIAGE_QUEUE_LIMIT."
        )
    return f"{waiting} of {limit} tickets wait"


def _report(loaded: Loaded) -> str:
    try:
        with one_transaction(database_url(loaded.settings)) as session:
            found = behind(session)
    except ProgrammingError:
        return "not known before triage migrate"
    hours, for_s = counted(int(found["behind_hours"]), "hour"), found["behind_s"]
    if for_s >= LONG_BEHIND_S:
        raise TriageError(
            f"Changes in {hours} are not counted for {for_s / 3600:.0f} hours. The API process counts them: start it, "
            "or look for roller.failed in its log."
        )
    return f"changes in {hours} wait to be counted"


def _redis(loaded: Loaded) -> str:
    url = redis_url(loaded.settings)
    if url is None:
        raise TriageError("No embedded Redis is running: start triage up, or set TRIAGE_REDIS_URL.")
    try:
        return f"Redis {connect(url).info('server')['redis_version']}"
    except (RedisError, OSError):
        raise TriageError(
            "Redis does not answer: tickets are still taken, each classified a few seconds later."
        ) from None


def _api(loaded: Loaded) -> str:
    url = f"{local_address(loaded.settings)}/readyz"
    try:
        answer = httpx.get(url, timeout=5, trust_env=False)
        found = answer.json()
    except (httpx.HTTPError, ValueError):
        raise TriageError(f"No Triage answers at {url}: start triage up, or set TRIAGE_PORT as it was given.") from None
    if found.get("status") != "ok":
        raise TriageError(" ".join(found.get("missing", [])) or "The service at this port is not Triage.")
    if answer.headers.get(FINGERPRINT) != loaded.fingerprint:
        file = loaded.settings.config
        raise TriageError(f"{file} was changed since the service was started, or it runs with another: restart it.")
    return f"ready at {url.removesuffix('/readyz')}"


def settings_table(found: Settings) -> Table:
    """All settings with their values; secrets only as set or not."""
    table = Table("setting", "value", "what it is", title="Settings")
    for name, field in Settings.model_fields.items():
        value = getattr(found, name)
        shown = "" if value is None else str(value)
        table.add_row(PREFIX + name.upper(), escape(shown), field.description or "")
    return table
