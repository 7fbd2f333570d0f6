"""What all tests share: one real Postgres and Redis, a migrated template database cloned where a test commits, the real
tiny llms, and an API or a worker over them."""

import gc
import itertools
import logging
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import hypothesis
import psutil
import psycopg
import pytest
import structlog
import taxonomies
from order import pytest_collection_modifyitems, pytest_xdist_make_scheduler  # noqa: F401 (hooks)
from pydantic import SecretStr
from serving import serving
from sqlalchemy import Engine
from sqlalchemy.engine import make_url

import migrations
from models import taxonomy
from models.db import conninfo, make_engine, transaction
from service import settings
from service.auth.keys import create_key
from service.datadir import Urls
from service.embedded import EmbeddedServers
from service.experiments import report
from service.garbage import while_loading
from service.servers import POSTGRES_SETTINGS
from service.settings import Loaded
from workers.drain import Drain
from workers.llms import Llms

# A run in the background of a shell ignores Ctrl-C, and so would every process that a test starts and interrupts.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Without a database and a deadline for each example, so that a slow machine finds what a fast one does.
hypothesis.settings.register_profile(
    "triage", deadline=None, database=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("triage")

ROOT = Path(__file__).resolve().parent.parent
TEMPLATE = "template_triage"
_numbers = itertools.count()
MEMORY = Path("/dev/shm")  # noqa: S108 (a folder of pytest's own is made in it)
MUCH = 6 << 30  # bytes; a run takes less than two


def pytest_configure() -> None:
    """Temporary folders lie in memory where there is room: most of them hold a Postgres that lives for seconds."""
    while_loading()
    if "TMPDIR" in os.environ or not (MEMORY.is_dir() and os.access(MEMORY, os.W_OK)):
        return
    room = min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available)
    if room > MUCH and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))


def pytest_collection_finish() -> None:
    """All that is loaded by now stays to the end, and is not looked through for garbage in between."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def logs_as_at_the_start() -> None:
    """A command sets up logging for its whole process, which here is that of the next tests too.

    Tracebacks are plain, as those of the service: drawing one with its source takes longer than most tests.
    """
    structlog.reset_defaults()
    plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
    structlog.configure(
        processors=[*structlog.get_config()["processors"][:-1], plain],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )


@pytest.fixture(autouse=True)
def reports_that_count_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second for what has changed is much for what a test writes, and may be little on a busy machine."""
    monkeypatch.setattr(report, "CATCH_UP_S", 60.0)


@pytest.fixture(scope="session")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Urls]:
    """Real Postgres and Redis for the whole run.

    This Postgres is never killed, so it need not wait for the disk; where durability counts, a test starts its own.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(POSTGRES_SETTINGS, "fsync", "off")
        made = EmbeddedServers(tmp_path_factory.mktemp("servers"), lambda sentence: None)
        urls = made.start()
    try:
        yield urls
    finally:
        made.stop()


def _named(url: str, name: str) -> str:
    return make_url(url).set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="session")
def admin(servers: Urls) -> Iterator[psycopg.Connection]:
    """What makes and drops databases: one connection for the whole run, since each costs Postgres a process."""
    with psycopg.connect(conninfo(servers.database_url), autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def template(servers: Urls, admin: psycopg.Connection) -> str:
    """A database migrated by Alembic, with the demo's first field stored, so that a ticket has one decision.

    Never connected to again, so it can be cloned.
    """
    admin.execute(f"CREATE DATABASE {TEMPLATE}")
    url = _named(servers.database_url, TEMPLATE)
    migrations.upgrade(url)
    engine = make_engine(url, pool_size=1)
    with transaction(engine) as session:
        taxonomy.store(session, taxonomies.demo("category"))
    engine.dispose()
    return TEMPLATE


@contextmanager
def cloned(servers: Urls, admin: psycopg.Connection, template: str) -> Iterator[str]:
    """The URL of a fresh copy of the template."""
    name = f"test_{next(_numbers)}"
    admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy")
    yield _named(servers.database_url, name)
    admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def clone(servers: Urls, admin: psycopg.Connection) -> Callable[[str], AbstractContextManager[str]]:
    """The same of a database that a file has filled, and that nobody is connected to."""
    return partial(cloned, servers, admin)


@pytest.fixture
def database_url(servers: Urls, admin: psycopg.Connection, template: str) -> Iterator[str]:
    """A database of the test's own."""
    with cloned(servers, admin, template) as url:
        yield url


@pytest.fixture(scope="module")
def module_database(servers: Urls, admin: psycopg.Connection, template: str) -> Iterator[Engine]:
    """A database for all tests of a file that only read what the first one wrote."""
    with cloned(servers, admin, template) as url:
        engine = make_engine(url)
        yield engine
        engine.dispose()


@pytest.fixture
def database(database_url: str) -> Iterator[Engine]:
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


@pytest.fixture
def sql(database_url: str) -> Iterator[Callable[..., list[Any]]]:
    """Runs one statement in autocommit and gives its rows."""
    with psycopg.connect(conninfo(database_url), autocommit=True) as connection:

        def run(statement: str, *values: Any) -> list[Any]:
            cursor = connection.execute(statement, values)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

        yield run


@pytest.fixture
def loaded(database_url: str, servers: Urls, tmp_path: Path) -> Loaded:
    """The committed configuration over the test's database."""
    found = settings.load(config=ROOT / "triage.yaml", data_dir=tmp_path)
    urls = {"database_url": SecretStr(database_url), "redis_url": SecretStr(servers.redis_url)}
    return found.model_copy(update={"settings": found.settings.model_copy(update=urls)})


@pytest.fixture
def new_key(database: Engine) -> Callable[..., str]:
    """Makes an API key with the given scopes."""

    def make(*scopes: str, source: str | None = None) -> str:
        with transaction(database) as session:
            return create_key(session, "test", list(scopes), source)[1]

    return make


@pytest.fixture
def client(loaded: Loaded, new_key: Callable[..., str]) -> Iterator[httpx.Client]:
    """The API, called with an admin key."""
    with serving(loaded) as made:
        made.headers["Authorization"] = f"Bearer {new_key('admin')}"
        yield made


@pytest.fixture(scope="session")
def llms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llms]:
    """The two real tiny llms, loaded once."""
    found = settings.load(config=ROOT / "triage.yaml")
    made = Llms(found, found.config.asked, tmp_path_factory.mktemp("llm"))
    assert made.load(), [llm.error for llm in made.all.values()]
    yield made
    made.close()


@pytest.fixture
def drain(database: Engine, llms: Llms, loaded: Loaded) -> Iterator[Drain]:
    """A worker's drain over the test's database."""
    made = Drain(database, llms, loaded.config, 4)
    yield made
    made.close()
