"""Who waits for a ticket while Postgres is away: it is told when that begins and when it is over, not at every look."""

import asyncio
from uuid import uuid4

from processes import free_port
from structlog.testing import capture_logs

from models.db import conninfo
from service.intake.waiting import INTERVAL_S, Waiting

FURTHER = 10  # looks that say nothing new


async def away_and_back(database_url, lines):
    async def told(event):
        async with asyncio.timeout(45):
            while event not in [line["event"] for line in lines]:
                await asyncio.sleep(INTERVAL_S)

    made = Waiting(f"host=127.0.0.1 port={free_port()} dbname=none")
    asked = asyncio.create_task(made.until_ready(uuid4(), 90))
    try:
        await told("waiting.postgres_away")
        await asyncio.sleep(FURTHER * INTERVAL_S)
        made.conninfo = conninfo(database_url)
        await told("waiting.postgres_back")
    finally:
        asked.cancel()
        await asyncio.gather(asked, return_exceptions=True)
        await made.close()


def test_postgres_away_and_back_is_told_once_each(database_url):
    with capture_logs() as lines:
        asyncio.run(away_and_back(database_url, lines))
    told = [line["event"] for line in lines if line["event"].startswith("waiting.")]
    assert told == ["waiting.postgres_away", "waiting.postgres_back"]
