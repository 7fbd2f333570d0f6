"""The API process: one FastAPI application, started by `triage serve`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import uvicorn
from fastapi import Depends, FastAPI

from models.db import conninfo, make_engine
from service.api import (
    catalog,
    erasure,
    experiments,
    health,
    metrics,
    problems,
    reports,
    runs,
    tickets,
    tickets_in,
    verdicts,
)
from service.api.counts import Counts
from service.api.crowd import not_crowded
from service.api.hosts import KnownHosts
from service.api.readiness import Readiness
from service.api.request_ids import RequestIds
from service.api.shortcut import Shortcut
from service.auth.known import Keys
from service.experiments.rollups.roller import Roller
from service.garbage import when_loaded
from service.helpdesks import build_all
from service.intake.depth import Depth
from service.intake.door import Door
from service.intake.replays import Replays
from service.intake.waiting import Waiting
from service.pages import site
from service.queue import Bell
from service.settings import Loaded, connection_secrets

DRAIN_S = 10


@dataclass(frozen=True)
class Schema:
    """The revision this code was written for, and those before it; on any other, made by newer code, it runs too."""

    head: str
    older: frozenset[str]


def create_app(loaded: Loaded, schema: Schema) -> FastAPI:
    """The application over the two URLs in the settings; raises ConfigError when one is missing."""
    database, redis = loaded.settings.urls()
    app = FastAPI(title="Triage", openapi_url=None, lifespan=_lifespan)
    app.state.loaded = loaded
    app.state.conninfo = conninfo(database)
    app.state.engine = make_engine(database)
    # One connection, which no other request can take.
    app.state.readiness = Readiness(make_engine(database, pool_size=1), schema.head, schema.older)
    app.state.keys = Keys(app.state.engine)
    app.state.connections = build_all(loaded.config.connections, connection_secrets())
    app.state.replays = Replays(app.state.engine)
    app.state.bell = Bell(redis)
    app.state.roller = Roller(app.state.engine)
    app.state.counts = Counts()
    problems.register(app)
    for room in (tickets_in, health):
        app.include_router(room.router)
    in_threads = [Depends(not_crowded)]
    for room in (tickets, erasure, runs, verdicts, catalog, experiments, reports, metrics):
        app.include_router(room.router, dependencies=in_threads)
    site.register(app, in_threads)
    # What is added last stands outermost.
    app.add_middleware(Shortcut, path="/v1/tickets", endpoint=tickets_in.post_ticket)
    app.add_middleware(KnownHosts, settings=loaded.settings)
    app.add_middleware(RequestIds)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    state = app.state
    state.door = Door(state.conninfo)
    state.depth = Depth(state.conninfo, state.loaded.settings.queue_limit)
    state.waiting = Waiting(state.conninfo)
    state.bell.start()
    state.roller.start()
    yield
    await state.waiting.close()
    await state.door.close()
    await state.depth.close()
    await asyncio.to_thread(state.bell.stop)
    await asyncio.to_thread(state.roller.stop)
    state.engine.dispose()
    state.readiness.engine.dispose()


class _Server(uvicorn.Server):
    """uvicorn that lets `?wait=` requests go before it waits for the open ones."""

    async def shutdown(self, *args: Any, **kwargs: Any) -> None:
        waiting = getattr(self.config.app.state, "waiting", None)  # type: ignore[union-attr]  # our FastAPI
        if waiting is not None:
            waiting.end()
        await super().shutdown(*args, **kwargs)


def server(loaded: Loaded, schema: Schema) -> uvicorn.Server:
    """The web server with the application in it, not running yet."""
    found = loaded.settings
    return _Server(
        uvicorn.Config(
            create_app(loaded, schema),
            host=found.host,
            port=found.port,
            loop="uvloop",
            http="httptools",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=DRAIN_S,
        )
    )


def run(loaded: Loaded, schema: Schema) -> None:
    """Serves until SIGTERM or SIGINT, then answers what is open and returns."""
    made = server(loaded, schema)
    when_loaded()
    made.run()
