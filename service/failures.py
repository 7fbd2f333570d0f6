"""How many bad keys an address has sent lately, in bounded memory. Called by auth."""

import math
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address, ip_address, ip_network

from models.errors import TooManyFailures

MOST = 20
WINDOW_S = 60.0
ADDRESSES = 10_000
LONGEST = 64


class Failures:
    """Counted for each API process by itself; which address has not failed for longest is forgotten first."""

    def __init__(self) -> None:
        self.seen: dict[str, tuple[float, int]] = {}
        self.under_way: Counter[str] = Counter()

    def count(self, address: str | None) -> None:
        """Counts one; raises TooManyFailures from the one after MOST on, until a minute after the first is over."""
        who, now = sender(address), time.monotonic()
        began, failures = self.seen.pop(who, (now, 0))
        if now - began >= WINDOW_S:
            began, failures = now, 0
        if len(self.seen) >= ADDRESSES:
            del self.seen[next(iter(self.seen))]
        self.seen[who] = (began, failures + 1)
        if failures >= MOST:
            wait = math.ceil(began + WINDOW_S - now)
            raise TooManyFailures("Too many unknown keys came from this address; see triage keys.", retry_after=wait)

    @contextmanager
    def asking(self, address: str | None) -> Iterator[bool]:
        """While a key is looked up: whether, if all that the address has under way are bad, it is over MOST."""
        who, now = sender(address), time.monotonic()
        began, failures = self.seen.get(who, (now, 0))
        self.under_way[who] += 1
        try:
            yield self.under_way[who] + (failures if now - began < WINDOW_S else 0) > MOST
        finally:
            self.under_way[who] -= 1
            if not self.under_way[who]:
                del self.under_way[who]


def sender(address: str | None) -> str:
    """Whom an address stands for: of IPv6 everybody has 2^64, which are one here."""
    try:
        found = ip_address((address or "").partition("%")[0])
    except ValueError:
        return (address or "")[:LONGEST]
    if isinstance(found, IPv6Address) and found.ipv4_mapped is None:
        return str(ip_network((found, 64), strict=False))
    return str(getattr(found, "ipv4_mapped", None) or found)
