"""A thousand posts at once with one Idempotency-Key, half of them to another API process: one ticket, one answer."""

import asyncio
from collections import Counter

import pytest
from processes import Up

POSTS = 1000
BODY = b'{"body": "Posted a thousand times", "external_id": "thousand"}'
KNOWN = b'{"body": "Posted without a key", "external_id": "known"}'


@pytest.fixture
def ports(up: Up, second_port: int) -> list[int]:
    """Those of two API processes over the same database."""
    return [up.port, second_port]


async def posted(ports: list[int], key: str, head: bytes, body: bytes) -> Counter[bytes]:
    """All connect first; then each sends its post. The bodies of the answers, counted."""
    streams = [await asyncio.open_connection("127.0.0.1", ports[number % 2]) for number in range(POSTS)]
    lines = (b"POST /v1/tickets HTTP/1.1", b"Host: 127.0.0.1", b"Authorization: Bearer " + key.encode(), head)
    end = (b"Content-Type: application/json", b"Content-Length: %d" % len(body), b"Connection: close", b"", body)
    for _, writer in streams:
        writer.write(b"\r\n".join([*filter(None, lines), *end]))
    answers = await asyncio.gather(*(reader.read() for reader, _ in streams))
    for _, writer in streams:
        writer.close()
    assert Counter(answer.split(b"\r\n", 1)[0] for answer in answers) == {b"HTTP/1.1 202 Accepted": POSTS}
    return Counter(answer.partition(b"\r\n\r\n")[2] for answer in answers)


def test_a_thousand_posts_with_one_key(up: Up, ports: list[int]) -> None:
    key = (up.data_dir / "key").read_text().strip()
    answers = asyncio.run(posted(ports, key, b"Idempotency-Key: thousand", BODY))
    assert len(answers) == 1
    ((ticket_id, run),) = up.sql("SELECT id, run FROM tickets WHERE external_id = 'thousand'")
    assert str(ticket_id).encode() in next(iter(answers))
    assert run == 1
    assert up.one("SELECT count(*) FROM idempotency_keys WHERE key = 'thousand'") == 1


def test_a_thousand_posts_of_one_ticket_without_a_key(up: Up, ports: list[int]) -> None:
    key = (up.data_dir / "key").read_text().strip()
    answers = asyncio.run(posted(ports, key, b"", KNOWN))
    ((ticket_id, run),) = up.sql("SELECT id, run FROM tickets WHERE external_id = 'known'")
    assert all(str(ticket_id).encode() in answer for answer in answers)
    assert sum(count for answer, count in answers.items() if b'"duplicate":true' not in answer) == 1
    assert run == 1
