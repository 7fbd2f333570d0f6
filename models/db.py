"""The way to Postgres: engine, URL forms and the one place that commits. Called by service and workers."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus
from sqlalchemy import URL, Engine, TextClause, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from models.errors import ConfigError, Unavailable

# A process that is frozen inside a transaction must not keep its rows from the others for longer than a lease lasts.
SESSION = "-c timezone=utc -c idle_in_transaction_session_timeout=30s"
# A plan for whatever values, made when a table was empty, would be kept when it is no longer.
PLANS = "-c plan_cache_mode=force_custom_plan"
# Seconds that Postgres may say nothing beyond what a statement may take, and in all to whether it is there.
GRACE_S = 3
# A statement that may take long is given up when whoever asked is gone.
ALLOW = TextClause("""
    SELECT set_config('statement_timeout', :ms, true), set_config('lock_timeout', :ms, true),
           set_config('client_connection_check_interval', '10s', true)""")
# Postgres away, all our connections in use by slow answers, a standby after a failover, a session ended by a timeout.
AWAY = (OperationalError, InterfaceError, PoolTimeout, InternalError)


def database_url(text: str) -> URL:
    """The URL with our driver; raises ConfigError without repeating it, since it may hold a password."""
    try:
        url = make_url(text.replace("postgres://", "postgresql://", 1))
    except (ArgumentError, ValueError):
        raise ConfigError("TRIAGE_DATABASE_URL is not a URL like postgresql://user:password@host/name.") from None
    if url.get_backend_name() != "postgresql":
        raise ConfigError("TRIAGE_DATABASE_URL must start with postgresql://.")
    return url.set(drivername="postgresql+psycopg")


def conninfo(text: str) -> str:
    """The same address in the form that libpq (a bare psycopg connection, pg_dump) reads. Holds the password."""
    return database_url(text).set(drivername="postgresql").render_as_string(hide_password=False)


class Patient(psycopg.Connection[Any]):
    """Waits no longer than its patience for an answer, and closes itself then.

    Of a frozen Postgres the kernel goes on to acknowledge what we send, so no timeout of TCP would ever end.
    """

    patience_s: float = GRACE_S

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().wait(*args, **{"timeout": self.patience_s} | kwargs)
        except psycopg.OperationalError:
            if self.pgconn.transaction_status == TransactionStatus.ACTIVE:
                self.pgconn.finish()  # its answer may still come, and would be taken for that to another question
            raise


def make_engine(text: str, *, pool_size: int = 5, statement_timeout_s: int = 30) -> Engine:
    """A pooled engine; connections are checked before use, so a restarted Postgres costs no error, nor a frozen one."""
    engine = _pooled(text, pool_size, statement_timeout_s)
    event.listen(engine, "do_connect", lambda dialect, record, given, named: Patient.connect(*given, **named))

    @event.listens_for(engine, "checkout")
    def for_work(connection: Patient, *rest: Any) -> None:
        connection.patience_s = statement_timeout_s + GRACE_S

    @event.listens_for(engine, "checkin")
    def for_the_check(connection: Patient | None, *rest: Any) -> None:
        if connection is not None:
            connection.patience_s = GRACE_S

    return engine


def _pooled(text: str, pool_size: int, statement_timeout_s: int) -> Engine:
    options = f"{SESSION} {PLANS} -c statement_timeout={statement_timeout_s * 1000}"
    return create_engine(
        database_url(text),
        pool_size=pool_size,
        max_overflow=pool_size,
        pool_pre_ping=True,
        pool_timeout=5,
        hide_parameters=True,  # an error in a log must not quote a ticket
        connect_args={"connect_timeout": 5, "options": options, "application_name": "triage"},
    )


def only_reads(session: Session) -> bool:
    """Whether Postgres takes nothing: it is a standby, or was told so."""
    return session.connection().exec_driver_sql("SHOW transaction_read_only").scalar() == "on"


def allow(session: Session, seconds: float) -> None:
    """Lets each further statement of this transaction take or wait for so long, instead of the engine's timeout."""
    session.execute(ALLOW, {"ms": f"{1 + int(1000 * seconds)}ms"})
    connection = session.connection().connection.driver_connection
    if isinstance(connection, Patient):
        connection.patience_s = seconds + GRACE_S


@contextmanager
def transaction(engine: Engine) -> Iterator[Session]:
    """A session that commits when the block ends and rolls back when it raises; Unavailable if Postgres is away."""
    try:
        with Session(engine, expire_on_commit=False) as session, session.begin():
            yield session
    except AWAY as error:
        raise Unavailable("Postgres does not answer; try again shortly.", retry_after=5) from error
