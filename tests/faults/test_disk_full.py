"""A full disk under Postgres: posts are 503 until there is room, then all goes on by itself. It takes root."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from posters import Posters
from processes import Up, eventually

MEGABYTE = 1 << 20


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Up]:
    """An `up` of its own, whose data lie on 300 MB."""
    made = Up(tmp_path)
    made.data_dir.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m,mode=0700", "tmpfs", str(made.data_dir)], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("no tmpfs of 300 MB can be mounted here; it takes root")
    try:
        yield made.start()
    finally:
        made.end()
        subprocess.run(["umount", str(made.data_dir)], check=True)


def fill(file: Path) -> None:
    """Takes all the room that there is."""
    with file.open("ab", buffering=0) as ballast:
        for size in (MEGABYTE, 4096):
            try:
                while ballast.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def refused_after(ballast: Path, client: httpx.Client) -> bool:
    """Whether a ticket that Postgres cannot compress finds no room."""
    fill(ballast)
    answer = client.post("/v1/tickets", json={"body": os.urandom(100_000).hex()})
    assert answer.status_code in (202, 503)
    return answer.status_code == 503


def told(small: Up) -> bool:
    """Whether /readyz says why tickets are refused."""
    answer = httpx.get(f"http://127.0.0.1:{small.port}/readyz", timeout=20, trust_env=False)
    return answer.status_code == 503 and answer.json()["missing"] == ["Postgres takes no tickets: its disk is full."]


def test_a_full_disk(small: Up) -> None:
    """In flight: four posts at a time, and large ones, which need room that is not there."""
    ballast = small.data_dir / "ballast"
    with Posters(small, "disk") as posters:
        posters.until_answered(20)
        fill(ballast)
        with small.client() as client:
            eventually(lambda: refused_after(ballast, client), why="there was always room")
            eventually(lambda: refused_after(ballast, client) and told(small), why="it was never said")
        posters.until_answered(3, status=503)
        ballast.unlink()
        posters.until_answered(20)
        answers = posters.stop()
    small.until("ok")
    refused = [answer for answer in answers if answer.status == 503]
    assert {answer.status for answer in answers} == {202, 503}
    assert {(answer.headers or {}).get("retry-after") for answer in refused} == {"5"}
    posters.send_again()
    assert posters.lost() == []
    assert posters.rows_of_each() == {1}
    small.expire_leases()
    eventually(lambda: small.one("SELECT count(*) FROM tickets WHERE status <> 'done'") == 0, 90)
    tickets = small.one("SELECT count(*) FROM tickets")
    of_each_field = small.sql("SELECT count(*), count(DISTINCT ticket_id) FROM triages GROUP BY field")
    assert of_each_field == [(tickets, tickets)] * 2
