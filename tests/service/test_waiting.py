"""Who waits for a ticket while Postgres is away: it is told when that begins and when it is over, not at every look."""

import asyncio
from uuid import uuid4

from processes import free_port
from structlog.testing import capture_logs

from models.db import conninfo
from service.intake.waiting import INTERVAL_S, Waiting

LOOKS = 10


async def away_and_back(database_url):
    made = Waiting(f"host=127.0.0.1 port={free_port()} dbname=none")
    try:
        assert not await made.until_ready(uuid4(), LOOKS * INTERVAL_S)
        made.conninfo = conninfo(database_url)
        assert not await made.until_ready(uuid4(), LOOKS * INTERVAL_S)
    finally:
        await made.close()


def test_postgres_away_and_back_is_told_once_each(database_url):
    with capture_logs() as lines:
        asyncio.run(away_and_back(database_url))
    told = [line["event"] for line in lines if line["event"].startswith("waiting.")]
    assert told == ["waiting.postgres_away", "waiting.postgres_back"]
