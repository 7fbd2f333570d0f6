"""Helpdesks that post all the time and keep a ledger; what was not answered is sent again. Used by __main__.py."""

import random
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx
from ledger import Ledger
from orders import Order, orders

CALLERS = 6
ENOUGH = 300  # tickets that wait; with more, callers are slower, so that the end of a run is not a long wait
SLOWLY_S, EACH_S = 0.5, 0.05  # from one order to a caller's next
PATIENCE_S = 6.0
PAUSE_S = 0.2
TWICE = 0.1  # share of requests that are sent to two API processes at once
GIVES_UP = 0.03  # share of unanswered requests that nobody sends again
TAKEN, REFUSED, FULL = (200, 202), (400, 413, 422), 429
KNOWN = frozenset({*TAKEN, *REFUSED, FULL, 503})


class Callers:
    """Threads that post to all `ports` until `stop`; `waiting` is told from outside."""

    def __init__(self, ports: list[int], key: str, seed: int):
        self.ports = ports
        self.seed = seed
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.ledger = Ledger()
        self.open = dict.fromkeys(ports, 0)
        self.lock = threading.Lock()
        self.waiting = 0
        self.over = threading.Event()
        self.left: list[Order] = []
        self.both = ThreadPoolExecutor(CALLERS)
        self.threads = [threading.Thread(target=self._work, args=(number,)) for number in range(CALLERS)]

    def start(self) -> None:
        for thread in self.threads:
            thread.start()

    def stop(self) -> None:
        self.over.set()
        for thread in self.threads:
            thread.join()
        self.both.shutdown()

    def settle(self, deadline: float) -> None:
        """Sends again what was unanswered at the end, until all of it is answered."""
        with self._client() as client:
            for order in self.left:
                while not self._send(client, order, self.ports[0]):
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"{order.names[0]} was never answered, although everything is back.")
                    time.sleep(PAUSE_S)

    def _client(self) -> httpx.Client:
        return httpx.Client(headers=self.headers, timeout=PATIENCE_S, trust_env=False)

    def _work(self, number: int) -> None:
        rng = random.Random(f"{self.seed} {number}")
        with self._client() as client:
            for order in orders(rng, f"caller{number}"):
                if self.over.wait(SLOWLY_S if self.waiting > ENOUGH else EACH_S):
                    return
                self._deliver(client, rng, order)

    def _deliver(self, client: httpx.Client, rng: random.Random, order: Order) -> None:
        if order.edits and self.ledger.entries[order.names[0]].told is None:
            return  # what it edits was given up
        self.ledger.sent(order.names, poison=order.poison)
        twice = rng.random() < TWICE
        while not self._try(client, rng, order, twice):
            if self.over.is_set():
                self.left.append(order)
                return
            if not order.edits and rng.random() < GIVES_UP:
                return
            self.over.wait(PAUSE_S)

    def _try(self, client: httpx.Client, rng: random.Random, order: Order, twice: bool) -> bool:
        """Whether it is answered for good; `twice` is at once, at two processes."""
        first, *others = rng.sample(self.ports, len(self.ports))
        other = self.both.submit(self._send, client, order, others[0]) if twice else None
        answered = self._send(client, order, first)
        return answered or bool(other and other.result())

    def _send(self, client: httpx.Client, order: Order, port: int) -> bool:
        headers = {"Idempotency-Key": order.key} if order.key else {}
        try:
            with self._opened(port):
                answer = client.post(f"http://127.0.0.1:{port}{order.path}", content=order.content, headers=headers)
        except httpx.ConnectError:  # not a byte of it has left
            self.ledger.answered("no connection")
            return False
        except httpx.TransportError as error:
            self.ledger.answered(type(error).__name__)
            self.ledger.unsure(order.names)
            return False
        return self._heard(order, answer)

    @contextmanager
    def _opened(self, port: int) -> Iterator[None]:
        self._count(port, 1)
        try:
            yield
        finally:
            self._count(port, -1)

    def _count(self, port: int, change: int) -> None:
        with self.lock:
            self.open[port] += change

    def _heard(self, order: Order, answer: httpx.Response) -> bool:
        self.ledger.answered(str(answer.status_code))
        if answer.status_code in TAKEN:
            self._taken(order, answer)
        elif answer.status_code in REFUSED:
            self.ledger.refused(order.names)
        elif answer.status_code != FULL:
            self.ledger.unsure(order.names)
            if answer.status_code not in KNOWN:
                self.ledger.wrong.append(f"{order.names[0]} was answered {answer.status_code}: {answer.text[:200]}")
        return answer.status_code in (*TAKEN, *REFUSED)

    def _taken(self, order: Order, answer: httpx.Response) -> None:
        found = answer.json()
        for name, item in zip(order.names, found.get("items", [found]), strict=True):
            if "id" in item:
                self.ledger.accepted(name, item["id"])
            else:
                self.ledger.refused((name,))
        if order.edits:
            self.ledger.edited(order.names[0])
