"""Posted tickets, each once it is classified: read in pages, since one by one takes long. Used by `import`."""

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from service.cli.imports import client as over_http
from service.cli.imports.client import Client

LOOK_S = 0.5
PAGE = 500
STRANGERS = 4  # pages with none of ours, one after the other, until each is asked for
OPEN = ("queued", "working")


class Waiting:
    """`ids` are of one source, in the order in which they were posted."""

    def __init__(self, client: Client, source: str, ids: list[str]):
        self.client, self.source = client, source
        self.left = dict.fromkeys(ids)

    def done(self) -> Iterator[dict[str, Any]]:
        """Every ticket that is classified or failed, as it was when it was seen to be."""
        while self.left:
            for ticket in self._looked_at():
                if ticket["status"] not in OPEN:
                    del self.left[ticket["id"]]
                    yield ticket
            self._wait()

    def _looked_at(self) -> Iterator[dict[str, Any]]:
        """All that are left: from the newest of their source on, then one by one what stands further down there."""
        further, without = set(self.left), 0
        for page in self._pages():
            ours = [ticket for ticket in page if ticket["id"] in further]
            further.difference_update(ticket["id"] for ticket in ours)
            yield from ours
            without = 0 if ours else without + 1
            if without > STRANGERS or not further:
                break
        for ticket_id in further:
            yield self.client.get(f"/v1/tickets/{ticket_id}")

    def _pages(self) -> Iterator[list[dict[str, Any]]]:
        asked: dict[str, Any] = {"source": self.source, "limit": PAGE}
        while True:
            page = self.client.get(f"/v1/tickets?{urlencode(asked)}")
            yield page["items"]
            if page["next_cursor"] is None:
                return
            asked["cursor"] = page["next_cursor"]

    def _wait(self) -> None:
        """Until about an eighth of what is left should be classified: a look at all of it is not for nothing then."""
        ahead = list(self.left)[: max(PAGE, len(self.left) // 8)]
        while ahead and self.client.get(f"/v1/tickets/{ahead[-1]}")["status"] in OPEN:
            over_http.sleep(LOOK_S)
