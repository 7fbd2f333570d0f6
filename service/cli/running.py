"""up and migrate: the whole service, and what has to be ready before it. Its processes are in `processes`."""

import socket
import sys
from collections.abc import Callable
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Annotated

import typer
from sqlalchemy import func, select, tuple_
from sqlalchemy.orm import Session

import migrations
from models import taxonomy
from models.errors import ConfigError
from models.tables import ApiKey, Triage
from service import settings, supervisor
from service.auth.keys import Scope, create_key
from service.cli.common import DataDir, counted, database_url, local_address, one_transaction, say, write_private
from service.experiments import kept
from service.experiments.assignment import require_fields
from service.helpdesks import build_all
from service.settings import Loaded

TRIAGE = [sys.executable, "-m", "service.cli"]
Host = Annotated[str | None, typer.Option(help="Address to listen on [default: 127.0.0.1, TRIAGE_HOST]")]
Port = Annotated[int | None, typer.Option(help="Port to listen on [default: 8080, TRIAGE_PORT]")]


def register(app: typer.Typer) -> None:
    for command in (up, migrate):
        app.command()(command)


def up(data_dir: DataDir = None, host: Host = None, port: Port = None) -> None:
    """Runs everything on this machine until Ctrl-C: Postgres and Redis unless their URLs are set, API and worker."""
    loaded = settings.load(data_dir=data_dir, host=host, port=port)
    _require_free(loaded.settings)
    build_all(loaded.config.connections, settings.connection_secrets())  # else the API would end with what it lacks
    supervisor.run(plan(loaded, _prepare_with_key), say, lambda service: _watch(service, loaded))


def _require_free(found: settings.Settings) -> None:
    """Says now what the API could only say in its log: that another program listens at its address."""
    family = socket.AF_INET6 if ":" in found.host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((found.host, found.port))
        except OSError as error:
            why = error.strerror or "it is no address"
            raise ConfigError(f"Cannot listen on {found.host}:{found.port} ({why}): choose another --port.") from None


def _watch(service: supervisor.Service, loaded: Loaded) -> None:
    key = loaded.settings.data_dir / "key"
    where = f"admin key: {key}" if key.exists() else "make a key with triage keys create"
    say(f"Triage is up: {address(loaded)}  ({where}; Ctrl-C stops)")
    service.watch()


def plan(
    loaded: Loaded, prepare: Callable[[Loaded, str], None], log_dir: Path | None = None, cwd: Path | None = None
) -> supervisor.Plan:
    """What `up` and `demo` run; `prepare` gets the database ready before the API starts; `cwd` is where `.env` is."""
    found = loaded.settings
    child = {
        "TRIAGE_CONFIG": str(found.config.resolve()),
        "TRIAGE_DATA_DIR": str(found.data_dir.resolve()),
        "TRIAGE_HOST": found.host,
        "TRIAGE_PORT": str(found.port),
        "TRIAGE_LOG_LEVEL": found.log_level,
        "TRIAGE_LOG_FORMAT": found.log_format,
    }
    return supervisor.Plan(
        data_dir=found.data_dir,
        api=[*TRIAGE, "serve"],
        worker=[*TRIAGE, "worker"],
        migrate=lambda url: prepare(loaded, url),
        ready=lambda: answers(loaded),
        env=child,
        database_url=found.database_url.get_secret_value() if found.database_url else None,
        redis_url=found.redis_url.get_secret_value() if found.redis_url else None,
        log_dir=log_dir.absolute() if log_dir else None,
        cwd=cwd,
    )


def _prepare_with_key(loaded: Loaded, url: str) -> None:
    prepare(loaded, url)
    first_key(loaded, url)


def address(loaded: Loaded) -> str:
    """Where people reach the API."""
    return loaded.settings.public_url or local_address(loaded.settings)


def answers(loaded: Loaded) -> bool:
    """Whether the API answers at all; a worker may still be loading."""
    asked = HTTPConnection(loaded.settings.host, loaded.settings.port, timeout=2)
    try:
        asked.request("GET", "/readyz")
        return asked.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        asked.close()


def prepare(loaded: Loaded, url: str) -> None:
    """Migrates, and stores a changed taxonomy as the next version."""
    say("Bringing the database schema up to date ...")
    migrations.upgrade(url)
    vocabulary = taxonomy.load(loaded.taxonomy_path)
    require_fields(loaded.config, vocabulary.fields_)
    with one_transaction(url) as session:
        version, changes = taxonomy.store(session, vocabulary)
        gone = _kept(session, changes or [])
        kept.keep(session, loaded.config)
    if changes is not None:
        what = f": {', '.join(changes) or 'other order'}" if version > 1 else ""
        say(f"Stored {loaded.taxonomy_path.name} as taxonomy version {version}{what}.")
        if gone:
            have = ", ".join(f"{label} ({counted(n, 'ticket')})" for label, n in gone.items())
            say(
                f"It leaves out labels that tickets have: {have}. They keep them, as of version {version - 1}; no "
                f"other ticket gets one. If {loaded.taxonomy_path} is not the file you meant, start with the right "
                "one: it becomes the next version."
            )


def _kept(session: Session, changes: list[str]) -> dict[str, int]:
    """Of the labels that a new version leaves out, those that tickets have, and how many."""
    gone = [tuple(line[2:].split("/", 1)) for line in changes if line.startswith("- ")]
    of_tickets = (Triage.newest, tuple_(Triage.field, Triage.label).in_(gone))
    found = select(Triage.field, Triage.label, func.count()).where(*of_tickets).group_by(Triage.field, Triage.label)
    return {f"{field}/{label}": n for field, label, n in session.execute(found.order_by(Triage.field, Triage.label))}


def first_key(loaded: Loaded, url: str) -> None:
    """When there is no key at all, makes one that may do everything and writes it where only this user can read it."""
    with one_transaction(url) as session:
        if session.scalars(select(ApiKey.id).limit(1)).first() is None:
            _, text = create_key(session, "admin", [Scope.ADMIN])
            write_private(loaded.settings.data_dir / "key", text + "\n")


def migrate(
    data_dir: DataDir = None,
    check: Annotated[bool, typer.Option(help="Only say whether the database is at this version's schema")] = False,
) -> None:
    """Brings the database to this version's schema and stores a changed taxonomy."""
    loaded = settings.load(data_dir=data_dir)
    url = database_url(loaded.settings)
    if not check:
        prepare(loaded, url)
    found, wanted = migrations.current(url), migrations.head()
    if found != wanted:
        raise ConfigError(f"The database is at schema {found}, this version needs {wanted}: run triage migrate.")
    say(f"The database is at schema {found}.")
