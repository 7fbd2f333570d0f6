"""Whether a post was taken before under its Idempotency-Key: a full queue does not refuse it, for nothing enters.

Called by the API for what the queue limit would refuse.
"""

import asyncio

from sqlalchemy import Engine

from models.db import transaction
from models.tables import IdempotencyKey
from service.intake.submission import Submission

LOOK_UP_S = 10.0


class Replays:
    """Looks one key up at a time, so that a flood of refused posts leaves Postgres and the threads to others."""

    def __init__(self, engine: Engine):
        self.engine = engine
        self.turn = asyncio.Lock()

    async def taken(self, submission: Submission) -> bool:
        """Whether its key has an answer; raises Unavailable, or TimeoutError, when Postgres cannot be asked."""
        if submission.key is None:
            return False
        async with asyncio.timeout(LOOK_UP_S), self.turn:
            return await asyncio.to_thread(self._taken, submission.key)

    def _taken(self, key: tuple[object, str]) -> bool:
        with transaction(self.engine) as session:
            return session.get(IdempotencyKey, key) is not None
