"""`up` killed, started twice, interrupted under load or started without its llm: tickets wait and are done then."""

import signal
import socket
import threading
from pathlib import Path

import httpx
import psutil
from posters import Posters
from processes import Up, eventually, free_port, gone

from service.embedded import EmbeddedServers

MANY = 200


def test_killed_and_started_again(up: Up) -> None:
    up.post_many(MANY, "My transfer is pending for days.")
    eventually(lambda: up.one("SELECT count(*) FROM triages") > 0)
    old, ids = up.processes(), up.sql("SELECT id FROM tickets ORDER BY id")
    assert up.process is not None
    up.process.kill()
    up.process.wait()
    up.start()
    eventually(lambda: gone(old), why="processes of the killed one are still there")
    up.until("ok")  # until now it may have been the old API that said so
    assert up.sql("SELECT id FROM tickets ORDER BY id") == ids
    up.expire_leases()


def test_an_api_that_dies_while_postgres_starts_is_there_before_it(up: Up) -> None:
    """Postgres may repair its files for minutes after an unclean stop; here it is frozen as soon as it begins."""
    old = up.send("postgres", signal.SIGKILL)
    eventually(lambda: gone([old]))
    postgres, api = up.send("postgres", signal.SIGSTOP), up.send("serve", signal.SIGKILL)
    try:
        eventually(lambda: gone([api]))
        assert up.part("serve").pid != api.pid
        assert postgres.status() == psutil.STATUS_STOPPED
    finally:
        postgres.send_signal(signal.SIGCONT)
    up.until("ok")


def test_a_second_up_on_the_same_data_is_refused_in_a_sentence(up: Up) -> None:
    before = up.processes()
    second = up.run("up", "--data-dir", str(up.data_dir), "--port", str(free_port()))
    assert second.wait(30) == 1
    said = " ".join((up.folder / "printed-up").read_text().split())
    assert said == (
        f"triage: The data folder {up.data_dir} is in use by another triage (process {up.pid}): "
        "stop that one, or choose another folder with --data-dir."
    )
    assert not gone(before)
    assert up.part("worker") in before


def test_ctrl_c_under_load(up: Up) -> None:
    """Whoever waits for a result gets a 202 during the stop; every 202 has its row; no ticket stays with a worker."""
    worker = up.send("worker", signal.SIGSTOP)  # so that the waiting ones are still waiting when Ctrl-C comes
    waited: list[httpx.Response] = []
    with up.client() as client, Posters(up, "load") as posters:
        waiters = [threading.Thread(target=lambda n=n: waited.append(wait_for(client, n))) for n in range(8)]
        for waiter in waiters:
            waiter.start()
        eventually(lambda: up.one("SELECT count(*) FROM tickets WHERE body LIKE 'Waiting%%'") == len(waiters))
        posters.until_answered(50)
        processes = up.processes()
        psutil.Process(up.pid).send_signal(signal.SIGINT)
        for waiter in waiters:
            waiter.join(20)
        # Postgres stops after the worker; a quick worker may be done with them before it stops.
        assert up.one("SELECT count(*) FROM tickets WHERE status = 'queued'") > 0
        worker.send_signal(signal.SIGCONT)
        assert up.process is not None
        assert up.process.wait(60) == 0
    assert [answer.status_code for answer in waited] == [202] * len(waiters)
    assert posters.count(202) + posters.count(None) == len(posters.answers)
    assert gone(processes)
    with EmbeddedServers(up.data_dir, lambda _: None):
        assert posters.lost() == []
        assert {answer.json()["id"] for answer in waited} <= {str(i) for (i,) in up.sql("SELECT id FROM tickets")}
        assert up.one("SELECT count(*) FROM tickets WHERE status = 'working' OR lease_id IS NOT NULL") == 0
    up.start()


def wait_for(client: httpx.Client, number: int) -> httpx.Response:
    return client.post("/v1/tickets?wait=30", json={"body": f"Waiting for my top-up {number}"})


def test_started_without_its_llms(up: Up) -> None:
    """No llm, no attempt: tickets wait until one is there."""
    assert up.interrupt() == 0
    ggufs = {name: up.folder / f"{name}.gguf" for name in ("fallback", "primary")}
    for gguf in ggufs.values():
        gguf.rename(gguf.with_suffix(".away"))
    up.start("degraded")
    missing = [f"The llm {name} is not loaded: There is no GGUF file at {gguf}." for name, gguf in ggufs.items()]
    eventually(lambda: up.until("degraded")["missing"] == missing)
    (ticket,) = up.post_many(1, "Where is my refund?")
    with up.client() as client:
        assert client.post("/v1/tickets?wait=0.5", json={"body": "Is anybody there?"}).status_code == 202
    assert up.sql("SELECT DISTINCT status, attempts, claimed_at FROM tickets WHERE status <> 'done'") == [
        ("queued", 0, None)
    ]
    # The fallback last: alone it would stand in for the primary.
    for name in ("primary", "fallback"):
        ggufs[name].with_suffix(".away").rename(ggufs[name])
    eventually(lambda: up.sql("SELECT status, attempts FROM tickets WHERE id = %s", ticket) == [("done", 0)])
    up.until("ok")


def test_clients_that_leave_before_their_answer(up: Up) -> None:
    """Each row is there or not, whole; those beside them and after them notice nothing."""
    with Posters(up, "stays") as posters:
        for number in range(50):
            leave(up, f"Gone before the answer {number}")
        posters.until_answered(50)
        answers = posters.stop()
    assert {answer.status for answer in answers} == {202}
    assert posters.rows_of_each() == {1}
    left = up.sql("SELECT body, count(*) FROM tickets WHERE body LIKE 'Gone before%%' GROUP BY body")
    assert len(left) > 0
    assert {count for _, count in left} == {1}


def leave(up: Up, body: str) -> None:
    """Sends a whole POST and closes at once, with a reset so that the server's answer finds nobody."""
    key, content = (up.data_dir / "key").read_text().strip(), f'{{"body": "{body}"}}'
    head = (
        "POST /v1/tickets HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\n"
    )
    with socket.create_connection(("127.0.0.1", up.port)) as connection:
        connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n{content}".encode())
        if body.endswith(("0", "5")):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")


def test_ctrl_c_while_it_loads(up: Up) -> None:
    """Python needs a second for the libraries, in which nothing has been started yet.

    Where no Python code can run at that moment, the signal itself ends the process, as quietly.
    """
    early = up.run("up", "--data-dir", str(up.folder / "early"), "--port", str(free_port()))
    loaded = Path(f"/proc/{early.pid}/maps")
    eventually(lambda: "pydantic_core" in loaded.read_text())
    early.send_signal(signal.SIGINT)
    assert early.wait(30) in (0, 130, -signal.SIGINT)
    assert "Traceback" not in (up.folder / "printed-up").read_text()
