"""The yardstick: the least that a durable intake can do. One INSERT per request, and nothing else of Triage.

Bare Starlette and asyncpg, over the product's own table. Served by serve.py, which gets its settings from stage.py.
"""

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import orjson
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from models.tables import new_id

INSERT = """
    INSERT INTO tickets (id, source, external_id, subject, body, raw, content_sha256, shadow, shadow_rate)
    VALUES ($1, 'api', $2, $3, $4, $5, $6, false, 0)"""


async def post_ticket(request: Request) -> JSONResponse:
    """Answers after the commit."""
    raw = await request.body()
    ticket = orjson.loads(raw)
    ticket_id, digest = new_id(), hashlib.sha256(raw).digest()
    texts = (ticket["external_id"], ticket["subject"], ticket["body"])
    await request.app.state.pool.execute(INSERT, ticket_id, *texts, raw, digest)
    return JSONResponse({"id": str(ticket_id), "status": "queued"}, 202)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    clients = int(os.environ["BENCH_CLIENTS"])
    async with asyncpg.create_pool(os.environ["BENCH_DATABASE"], min_size=clients, max_size=clients) as pool:
        app.state.pool = pool
        yield


web = Starlette(routes=[Route("/v1/tickets", post_ticket, methods=["POST"])], lifespan=lifespan)
