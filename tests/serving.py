"""The API in a thread of the test's own process, on a free port of loopback, and a worker's drain in another."""

import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

import migrations
from service.app import Schema, server
from service.config import Config
from service.settings import Loaded
from workers.drain import Drain

# Without one, each client reads every authority that the machine trusts, which takes longer than many a test.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def with_policy(config: Config, **changes: Any) -> Config:
    """The configuration with another policy."""
    return config.model_copy(update={"policy": config.policy.model_copy(update=changes)})


@contextmanager
def serving(loaded: Loaded, older: frozenset[str] = frozenset()) -> Iterator[httpx.Client]:
    """Runs the API over these settings; a client that has no key yet."""
    found = loaded.model_copy(update={"settings": loaded.settings.model_copy(update={"port": 0})})
    running = server(found, Schema(migrations.head(), older))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started and thread.is_alive():
        time.sleep(0.01)
    port = running.servers[0].sockets[0].getsockname()[1]
    try:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url, timeout=30, trust_env=False, verify=NO_TLS) as client:
            yield client
    finally:
        running.should_exit = True
        thread.join()


@contextmanager
def draining(drain: Drain) -> Iterator[None]:
    """With a worker at work meanwhile."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(0.05):
            drain.run()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
