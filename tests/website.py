"""A running service with its worker's drain beside it, for tests of pages: called by program, browser and SQL."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from processes import ROOT
from pydantic import SecretStr
from serving import NO_TLS, serving
from sqlalchemy import Engine

from models.db import transaction
from service import settings
from service.auth.keys import create_key
from service.settings import Loaded
from workers.drain import Drain
from workers.llms import Llms


@dataclass
class Site:
    """A running service: `api` calls it with an admin key, `browser` is nobody until it signs in."""

    api: httpx.Client
    loaded: Loaded
    database: Engine
    drain: Drain
    opened: list[httpx.Client] = field(default_factory=list)

    def key(self, *scopes: str, name: str = "Ana", source: str | None = None) -> str:
        with transaction(self.database) as session:
            return create_key(session, name, list(scopes), source)[1]

    def sql(self, statement: str, *values: Any) -> list[Any]:
        with self.database.begin() as connection:
            found = connection.exec_driver_sql(statement, values)
            return [tuple(row) for row in found] if found.returns_rows else []

    def browser(self, *scopes: str, **headers: str) -> httpx.Client:
        """A browser on one of our own pages, signed in with a key of these scopes."""
        base = str(self.api.base_url).rstrip("/")
        ours = {"Origin": base, "Accept": "text/html"} | headers
        made = httpx.Client(base_url=base, headers=ours, timeout=30, trust_env=False, verify=NO_TLS)
        self.opened.append(made)
        if scopes:
            assert made.post("/login", data={"key": self.key(*scopes)}).status_code == 303
        return made

    def classify(self, **ticket: Any) -> dict[str, Any]:
        """A ticket that went all the way."""
        ticket_id = self.api.post("/v1/tickets", json=ticket).json()["id"]
        self.drain.run()
        found: dict[str, Any] = self.api.get(f"/v1/tickets/{ticket_id}").json()
        return found


def configured(database: Engine, redis_url: str, data_dir: Path, **more: str) -> Loaded:
    """The committed configuration over this database."""
    found = settings.load(None, config=ROOT / "triage.yaml", data_dir=data_dir, **more)
    url = database.url.render_as_string(hide_password=False)
    urls = {"database_url": SecretStr(url), "redis_url": SecretStr(redis_url)}
    return found.model_copy(update={"settings": found.settings.model_copy(update=urls)})


@contextmanager
def opened(loaded: Loaded, database: Engine, llms: Llms) -> Iterator[Site]:
    drain = Drain(database, llms, loaded.config, 4)
    with serving(loaded) as api:
        made = Site(api, loaded, database, drain)
        api.headers["Authorization"] = f"Bearer {made.key('admin')}"
        yield made
        for browser in made.opened:
            browser.close()
    drain.pool.shutdown()
