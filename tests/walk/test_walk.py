"""One ticket walks through the real processes of `triage up`: posted, classified, read back, judged and reported.

Also: the API's port is all that listens on TCP, the key stays private, and Ctrl-C leaves no process behind.
"""

import stat
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest
from processes import Up, gone, names, sockets

BODY = "My new card still has not arrived in the post, when will it come?"
TRUE = {"category": "card_delivery_and_activation", "intent": "card_arrival"}


@pytest.fixture(scope="module")
def only_up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    made = Up(tmp_path_factory.mktemp("walk"))
    yield made
    made.end()


@pytest.fixture
def up(only_up: Up) -> Up:
    return only_up if only_up.alive() else only_up.start()


@pytest.fixture
def client(up: Up) -> Iterator[httpx.Client]:
    with up.client() as made:
        yield made


def test_a_ticket_is_posted_classified_read_back_judged_and_reported(up: Up, client: httpx.Client) -> None:
    posted = client.post("/v1/tickets?wait=30", json={"body": BODY, "external_id": "T-1", "source": "walk"})
    assert posted.status_code == 200, posted.text
    ticket = posted.json()
    assert (ticket["status"], ticket["body"], ticket["attempts"]) == ("done", BODY, 0)
    assert [(t["field"], t["run"], t["label"]) for t in ticket["triage"]] == [
        (f, 1, label) for f, label in TRUE.items()
    ]
    asked = sorted((p["field"], p["llm"]) for p in ticket["predictions"])
    assert asked == [(field, llm) for field in TRUE for llm in ("fallback", "primary")]
    _rows_agree(up, ticket)

    assert [t["id"] for t in client.get("/v1/tickets?source=walk&status=done").json()["items"]] == [ticket["id"]]
    _judge(client, ticket["id"])
    given = up.sql("SELECT field, label, source FROM verdicts WHERE ticket_id = %s ORDER BY id", ticket["id"])
    assert given == [(field, label, "dataset") for field, label in TRUE.items()]
    report = client.get("/v1/report").json()
    assert report["tickets"]["done"] == 1
    primary = next(llm for llm in report["llms"] if llm["llm"] == "primary")
    assert [(row["source"], row["n"]) for row in primary["accuracy"]] == [("dataset", 1)]


def _rows_agree(up: Up, ticket: dict[str, Any]) -> None:
    """What the API said is what the tables hold."""
    stored = "SELECT body, status, lease_id, convert_from(raw, 'UTF8') LIKE %s FROM tickets WHERE id = %s"
    assert up.sql(stored, f"%{BODY}%", ticket["id"]) == [(BODY, "done", None, True)]
    decided = "SELECT field, label, confidence, action FROM triages WHERE ticket_id = %s ORDER BY field"
    shown = [tuple(triage[n] for n in ("field", "label", "confidence", "action")) for triage in ticket["triage"]]
    assert up.sql(decided, ticket["id"]) == shown
    said = """SELECT v.name, p.field, p.label, p.confidence FROM predictions p
              JOIN llm_versions v ON v.id = p.llm_version_id WHERE ticket_id = %s ORDER BY p.id"""
    answered = [(p["llm"], p["field"], p["label"], p["confidence"]) for p in ticket["predictions"]]
    assert up.sql(said, ticket["id"]) == answered


def _judge(client: httpx.Client, ticket_id: str) -> None:
    for field, label in TRUE.items():
        verdict = {"field": field, "label": label, "source": "dataset"}
        answers = [client.post(f"/v1/tickets/{ticket_id}/verdicts", json=verdict) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 200]


def test_the_key_is_private_and_never_printed(up: Up) -> None:
    key = up.data_dir / "key"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert key.read_text().startswith("triage_")
    printed = up.output().replace("\n", "")  # a narrow screen folds lines
    assert str(key) in printed
    assert key.read_text().strip() not in printed


def test_only_the_api_listens_on_tcp(up: Up) -> None:
    listening = [
        (process.pid, connection.laddr.ip, connection.laddr.port)
        for process in up.processes()
        for connection in sockets(process)
        if connection.status == psutil.CONN_LISTEN or not connection.raddr
    ]
    assert listening == [(up.part("serve").pid, "127.0.0.1", up.port)]


def test_ctrl_c_ends_every_process(up: Up) -> None:
    processes = up.processes()
    assert {"postgres", "redis-server"} <= names(processes)
    assert len(processes) > 8
    assert list(up.temporary.glob("triage-llm-*"))
    assert up.interrupt() == 0
    assert gone(processes)
    assert list(up.temporary.iterdir()) == []
    assert "Traceback" not in up.output()
