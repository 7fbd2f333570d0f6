"""How every process logs: one event a line on stderr, never a ticket's text or a secret. Used by the command line."""

import logging
import sys
import traceback

import structlog
from billiard.exceptions import RestartFreqExceeded
from kombu.exceptions import OperationalError
from redis import RedisError
from structlog.typing import ExcInfo, Processor

from service.settings import Settings

# What Celery raises while Redis is away or refuses.
LOSSES = (OSError, RedisError, OperationalError, RestartFreqExceeded)
# No ExtraAdder: what libraries attach to a record (Celery: the error's repr and traceback) may hold a text.
SHARED: list[Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
]


def configure(settings: Settings) -> None:
    """Our events from the configured level, the libraries' from warning, all in the configured form."""
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    structlog.configure(
        processors=[*SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_without_traceback)
    handler.addFilter(_without_message)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=SHARED,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_form(settings.log_format)],
        )
    )
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("service", "workers", "models"):
        logging.getLogger(ours).setLevel(level)


def _without_traceback(record: logging.LogRecord) -> bool:
    """Celery and kombu say in a line that Redis went away; where in their code it was noticed helps nobody."""
    error = record.exc_info[1] if record.exc_info else None
    if record.name.startswith(("celery", "kombu")) and isinstance(error, LOSSES):
        record.exc_info = None
    return True


def _without_message(record: logging.LogRecord) -> bool:
    """What Celery says of a failed task repeats the error's text; the traceback says where it was, and the kind."""
    if record.name == "celery.app.trace":
        kind = record.exc_info[0] if record.exc_info else None
        record.msg, record.args = f"A task failed: {kind.__qualname__ if kind else 'unknown'}", None
    return True


def _form(name: str) -> list[Processor]:
    if name == "json":
        return [structlog.processors.ExceptionRenderer(_traceback), structlog.processors.JSONRenderer()]
    plain = structlog.processors.ExceptionRenderer(_traceback)
    return [plain, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())]


def _traceback(exc_info: ExcInfo) -> str:
    """Where it happened and of which kinds it was; what a library says of it may repeat a ticket's text."""
    error: BaseException | None = exc_info[1]
    parts: list[str] = []
    while error is not None:
        frames = "".join(traceback.format_tb(error.__traceback__))
        parts.insert(0, f"Traceback (most recent call last):\n{frames}{type(error).__qualname__}")
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return "\n\nand then:\n\n".join(parts)
