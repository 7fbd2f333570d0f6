"""Posts tickets to 127.0.0.1 and measures the answers. `python -m benchmarks.generator` reads a job and prints JSON.

A process of its own, started by load.py where wrk is missing, and for every open loop, which wrk does not have.
"""

import asyncio
import secrets
import sys
import time
from collections import deque
from typing import Any, cast

import httptools
import orjson
import uvloop

from models.metrics import quantile

TICK_S = 0.001  # the loop's timers know nothing finer, and would spin
BODY = (
    "Hello, I ordered a new card two weeks ago and it still has not arrived. The app says that it was sent, "
    "but nobody has seen it here. Can you tell me where it is?"
)


class Client(asyncio.Protocol):
    """One kept-alive connection with at most one request on its way."""

    def __init__(self, load: "Load"):
        self.load = load
        self.due = 0.0
        self.parser = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's own is none by its class

    def post(self, due: float) -> None:
        self.due = due
        self.transport.write(self.load.request())

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.load.answered(self, self.parser.get_status_code())

    def connection_lost(self, error: Exception | None) -> None:
        self.load.lost(self)


class Load:
    """A closed loop: every client posts again as soon as it is answered."""

    def __init__(self, job: dict[str, Any]):
        self.seconds = float(job["seconds"])
        self.prefix = secrets.token_hex(4)
        self.head = (
            f"POST /v1/tickets HTTP/1.1\r\nHost: 127.0.0.1:{job['port']}\r\nAuthorization: Bearer {job['key']}\r\n"
            "Content-Type: application/json\r\n"
        )
        self.posted = self.refused = 0
        self.latencies: list[float] = []
        self.loop = asyncio.get_running_loop()
        self.over: asyncio.Future[None] = self.loop.create_future()

    def request(self) -> bytes:
        """The next post; no two have the same Idempotency-Key or external_id."""
        self.posted += 1
        name = f"{self.prefix}-{self.posted:09}"
        body = f'{{"external_id": "{name}", "subject": "Where is my card?", "body": "{BODY}"}}'
        return f"{self.head}Idempotency-Key: {name}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()

    def start(self, clients: list[Client]) -> None:
        self.end = time.perf_counter() + self.seconds
        for client in clients:
            client.post(time.perf_counter())

    def answered(self, client: Client, status: int) -> None:
        now = time.perf_counter()
        if status == 202:
            self.latencies.append(now - client.due)
        else:
            self.refused += 1
        self.next(client, now)
        if self.finished(now) and len(self.latencies) + self.refused == self.posted and not self.over.done():
            self.over.set_result(None)

    def next(self, client: Client, now: float) -> None:
        if now < self.end:
            client.post(now)

    def finished(self, now: float) -> bool:
        return now >= self.end

    def lost(self, client: Client) -> None:
        if not self.over.done():
            self.over.set_exception(ConnectionResetError("The server closed a connection while it was loaded."))


class OpenLoad(Load):
    """An open loop: posts are due at fixed times, and latencies count from then, however late a post was sent."""

    def __init__(self, job: dict[str, Any]):
        super().__init__(job)
        self.rate = float(job["rate"])
        self.wanted = max(1, round(self.seconds * self.rate))
        self.scheduled = 0
        self.waiting: deque[float] = deque()

    def start(self, clients: list[Client]) -> None:
        self.idle = deque(clients)
        self.began = time.perf_counter()
        self.tick()

    def tick(self) -> None:
        """Everything that has become due gets a client, or waits for one."""
        while self.scheduled < self.wanted and self.due(self.scheduled) <= time.perf_counter():
            self.waiting.append(self.due(self.scheduled))
            self.scheduled += 1
        while self.waiting and self.idle:
            self.idle.popleft().post(self.waiting.popleft())
        if self.scheduled < self.wanted:
            self.loop.call_later(TICK_S, self.tick)

    def due(self, number: int) -> float:
        return self.began + number / self.rate

    def next(self, client: Client, now: float) -> None:
        if self.waiting:
            client.post(self.waiting.popleft())
        else:
            self.idle.append(client)

    def finished(self, now: float) -> bool:
        return self.posted == self.wanted


async def run(job: dict[str, Any]) -> dict[str, Any]:
    """Connects first, so that only posts are measured."""
    load = OpenLoad(job) if job["rate"] else Load(job)
    made = [
        await load.loop.create_connection(lambda: Client(load), "127.0.0.1", job["port"]) for _ in range(job["clients"])
    ]
    wall, cpu = time.perf_counter(), time.process_time()
    load.start([client for _, client in made])
    await load.over
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "answered": len(load.latencies),
        "refused": load.refused,
        "seconds": wall,
        "per_s": len(load.latencies) / wall,
        "p50_ms": 1e3 * (quantile(load.latencies, 0.5) or 0.0),
        "p99_ms": 1e3 * (quantile(load.latencies, 0.99) or 0.0),
        "cpu_share": cpu / wall,
    }


if __name__ == "__main__":
    print(orjson.dumps(uvloop.run(run(orjson.loads(sys.stdin.buffer.read())))).decode())  # noqa: T201 (its result)
