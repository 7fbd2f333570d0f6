"""A full queue refuses what would enter it; what was taken before is answered as then, and adds nothing."""

import pytest
from processes import eventually
from serving import serving

LIMIT = 3
BATCH = {"tickets": [{"body": "one"}, {"body": "two"}, {"subject": "no body"}]}


@pytest.fixture
def full(loaded, new_key):
    """The API with a queue that a batch and a ticket have filled; and what it said to them, and whose key that was."""
    small = loaded.model_copy(update={"settings": loaded.settings.model_copy(update={"queue_limit": LIMIT})})
    with serving(small) as client:
        client.headers["Authorization"] = f"Bearer {new_key('admin')}"
        answers = [post(client, "batch", BATCH, "/batch"), post(client, "one", {"body": "three"})]
        assert [answer.status_code for answer in answers] == [202, 202]
        yield client, answers


def post(client, key, body, path=""):
    return client.post(f"/v1/tickets{path}", json=body, headers={"Idempotency-Key": key} if key else {})


def test_a_repeat_is_answered_as_the_first_time(full, sql):
    client, answers = full
    again = [post(client, "batch", BATCH, "/batch"), post(client, "one", {"body": "three"})]
    assert [(answer.status_code, answer.content) for answer in again] == [(202, first.content) for first in answers]
    assert post(client, "one", {"body": "another"}).status_code == 422
    assert sql("SELECT count(*) FROM tickets") == [(LIMIT,)]


@pytest.mark.parametrize("key", ["new", None])
def test_what_is_new_is_refused_and_leaves_no_key(full, sql, key):
    client, _ = full
    answer = post(client, key, {"body": "four"})
    assert (answer.status_code, answer.json()["detail"]) == (
        429,
        "3 tickets wait in a queue of at most 3; send this later.",
    )
    assert int(answer.headers["Retry-After"]) > 0
    assert sql("SELECT count(*), (SELECT count(*) FROM idempotency_keys) FROM tickets") == [(LIMIT, 2)]


def test_another_keys_repeat_is_no_repeat(full, new_key):
    client, _ = full
    client.headers["Authorization"] = f"Bearer {new_key('admin')}"
    assert post(client, "one", {"body": "three"}).status_code == 429


def test_a_batch_that_never_fits_is_told_so(full):
    client, _ = full
    answer = post(client, None, {"tickets": [{"body": "x"}] * 4}, "/batch")
    assert answer.json()["detail"] == "The queue takes 3 tickets at most: send these 4 in smaller batches."


def test_without_postgres_it_is_refused_as_before(full, monkeypatch):
    client, _ = full

    def away(*_):
        raise TimeoutError

    monkeypatch.setattr("service.intake.replays.Replays._taken", away)
    assert post(client, "one", {"body": "three"}).status_code == 429
    monkeypatch.undo()
    eventually(lambda: post(client, "one", {"body": "three"}).status_code == 202)
