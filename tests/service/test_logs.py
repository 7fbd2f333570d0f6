"""What a process prints: a line for each event, and no traceback of a library that lost its server."""

import logging

import pytest
import redis
import structlog
from billiard.exceptions import RestartFreqExceeded

from service.logs import configure
from service.settings import Settings


@pytest.fixture
def logged(capsys):
    """Logs as a process does that was just started; afterwards the logging is as before."""
    root = logging.getLogger()
    before = root.handlers[:], root.level

    def log(name, error):
        configure(Settings(_env_file=None))
        try:
            raise error
        except type(error):
            logging.getLogger(name).critical("Couldn't ack, reason: %s", error, exc_info=True)
        return capsys.readouterr().err

    yield log
    root.handlers[:], root.level = before
    structlog.reset_defaults()


@pytest.mark.parametrize(
    "error", [redis.ConnectionError("closed"), ConnectionRefusedError("refused"), RestartFreqExceeded("5 in 1s")]
)
def test_a_lost_redis_is_one_line(logged, error):
    said = logged("kombu.message", error)
    assert said.count("\n") == 1
    assert f"reason: {error}" in said


@pytest.mark.parametrize(
    ("name", "error"), [("kombu.message", ZeroDivisionError("mistake")), ("workers.drain", ConnectionError("closed"))]
)
def test_a_mistake_keeps_its_traceback(logged, name, error):
    assert "Traceback (most recent call last)" in logged(name, error)
