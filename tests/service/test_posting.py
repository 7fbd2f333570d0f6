"""POST /v1/tickets and /batch: what is taken, what is refused and how, and that repeats make no second ticket."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from serving import serving

JSON = {"Content-Type": "application/json"}


def problem(answer, status):
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body = answer.json()
    assert body["status"] == status
    assert body["title"]
    assert body["detail"].endswith(".")
    return body


def test_a_ticket_is_a_row_when_it_is_answered(client, sql):
    raw = (
        b'{"subject": "Card", "body": "My card has not arrived", "external_id": "7", "source": "crm", "language": "en"}'
    )
    answer = client.post("/v1/tickets", content=raw, headers=JSON)
    assert answer.status_code == 202
    assert answer.json() == {
        "id": answer.json()["id"], "status": "queued", "url": f"/v1/tickets/{answer.json()['id']}"
    }  # fmt: skip
    rows = sql("SELECT id::text, subject, body, source, external_id, language, raw, status, run, repaired FROM tickets")
    assert rows == [
        (answer.json()["id"], "Card", "My card has not arrived", "crm", "7", "en", raw, "queued", 1, False)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("raw", "status", "names"),
    [
        (b"", 400, "The body is empty: send JSON."),
        (b"{", 400, "line 1"),
        (b"\xff\xfe", 400, "not UTF-8"),
        (b'{"body": NaN}', 400, "not valid JSON"),
        (b"[]", 422, "JSON object"),
        (b"{}", 422, "body"),
        (b'{"body": 5}', 422, "body"),
        (b'{"body": "x", "colour": 1, "size": 2}', 422, "size: unknown key"),
        (
            b'{"body": "x", "external_id": "' + b"a" * 256 + b'"}',
            422,
            "external_id: string should have at most 255 characters",
        ),
        (b'{"body": "x", "external_id": ""}', 422, "external_id: string should have at least 1 character"),
        (b'{"body": "x", "external_id": "a\\u0000"}', 422, "external_id: must not contain NUL"),
        (b'{"body": "x", "external_id": "a\\ud800"}', 422, "external_id: must not contain NUL or lone surrogates"),
        (b'{"body": "x", "source": "' + b"a" * 256 + b'"}', 422, "source"),
        (b'{"body": "x", "created_at": "yesterday"}', 422, "created_at"),
        (b'{"body": "x", "created_at": "2026-01-01T00:00:00"}', 422, "its zone"),
        (b'{"body": "x", "metadata": []}', 422, "metadata"),
        (b'{"body": "x", "metadata": {"a": ' + b"[" * 11 + b"]" * 11 + b"}}", 422, "nested deeper than 10"),
        (b'{"body": "x", "metadata": {"a": ' + b"[" * 900 + b"]" * 900 + b"}}", 422, "nested deeper than 10"),
        (b'{"body": "x", "metadata": {"a": "' + b"b" * 16385 + b'"}}', 422, "16384 bytes"),
        (b'{"body": "\\ud800", "metadata": {"a": 1e999}}', 422, "finite"),
        (b'{"body": "x", "metadata": ' + b"[" * 100_000, 400, "nested deeper than about 1,000"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_wrong_input_is_refused_by_name_and_leaves_no_row(client, sql, raw, status, names):
    body = problem(client.post("/v1/tickets", content=raw, headers=JSON), status)
    assert names in body["detail"]
    assert sql("SELECT count(*) FROM tickets") == [(0,)]


def test_a_byte_order_mark_before_the_json_is_passed_over(client, sql):
    answer = client.post("/v1/tickets", content=b'\xef\xbb\xbf{"body": "x"}', headers=JSON)
    assert answer.status_code == 202, answer.text
    assert sql("SELECT body, raw FROM tickets") == [("x", b'\xef\xbb\xbf{"body": "x"}')]


@pytest.mark.parametrize(
    ("path", "unknown"),
    [
        ("/v1/tickets?wiat=10", ["wiat"]),
        ("/v1/tickets?wait=0&foo=1&bar=", ["foo", "bar"]),
        ("/v1/tickets/batch?wait=10", ["wait"]),
    ],
)
def test_what_no_post_may_ask_is_named_as_in_lists(client, sql, path, unknown):
    found = problem(client.post(path, json={"body": "x"} if "batch" not in path else {"tickets": [{"body": "x"}]}), 422)
    listed = problem(client.get("/v1/tickets", params=dict.fromkeys(unknown, "1")), 422)
    assert (found["detail"], found["errors"]) == (listed["detail"], listed["errors"])
    assert [error["field"] for error in found["errors"]] == unknown
    assert sql("SELECT count(*) FROM tickets") == [(0,)]


def test_every_wrong_field_is_named(client):
    body = problem(client.post("/v1/tickets", json={"body": 1, "source": 2, "x": 3}), 422)
    assert [error["field"] for error in body["errors"]] == ["body", "source", "x"]


def test_wrong_content_type_and_size(client, loaded, sql):
    problem(client.post("/v1/tickets", content=b"body=x", headers={"Content-Type": "text/plain"}), 415)
    problem(client.post("/v1/tickets", content=b"{}"), 415)
    limit = loaded.settings.max_ticket_bytes
    just = json.dumps({"body": "x"}).encode()
    just += b" " * (limit - len(just))
    assert client.post("/v1/tickets", content=just, headers=JSON).status_code == 202
    larger = problem(client.post("/v1/tickets", content=just + b" ", headers=JSON), 413)
    assert (
        larger["detail"] == f"The request is larger than {limit} bytes; the setting TRIAGE_MAX_TICKET_BYTES limits it."
    )

    def endless():
        for _ in range(3 * limit // 65536):
            yield b" " * 65536

    problem(client.post("/v1/tickets", content=endless(), headers=JSON), 413)  # no Content-Length to believe
    assert sql("SELECT count(*) FROM tickets") == [(1,)]


def test_broken_text_is_repaired_and_the_received_bytes_are_kept(client, sql):
    raw = b'{"body": "a\\u0000b\\ud800c", "subject": "ok", "metadata": {"k\\u0000": "\\udc00"}}'
    assert client.post("/v1/tickets", content=raw, headers=JSON).status_code == 202
    assert sql("SELECT body, repaired, raw, metadata FROM tickets") == [
        ("a\ufffdb\ufffdc", True, raw, {"k\ufffd": "\ufffd"})
    ]


def test_pairs_of_surrogates_are_one_good_character(client, sql):
    raw = b'{"body": "\\ud83d\\ude00", "metadata": {"a": "\\ud83d\\ude00"}}'
    assert client.post("/v1/tickets", content=raw, headers=JSON).status_code == 202
    assert sql("SELECT body, repaired, metadata FROM tickets") == [("\U0001f600", False, {"a": "\U0001f600"})]


def test_a_very_long_text_is_taken_whole(client, sql):
    assert client.post("/v1/tickets", json={"body": "word " * 12_000}).status_code == 202
    assert sql("SELECT length(body) FROM tickets") == [(60_000,)]


def test_idempotency_key_replays_the_first_answer_and_refuses_another_body(client, sql):
    def post(body, key="k1"):
        return client.post("/v1/tickets", json={"body": body}, headers={"Idempotency-Key": key})

    first, again = post("a"), post("a")
    assert (first.status_code, again.status_code) == (202, 202)
    assert first.content == again.content
    assert "another body" in problem(post("b"), 422)["detail"]
    assert post("a", "k2").json()["id"] != first.json()["id"]
    assert sql("SELECT count(*) FROM tickets") == [(2,)]


def test_an_idempotency_key_lives_for_a_day(client, sql):
    def post(body):
        return client.post("/v1/tickets", json={"body": body}, headers={"Idempotency-Key": "k"})

    first = post("a")
    sql("UPDATE idempotency_keys SET created_at = now() - interval '25 hours'")
    second = post("b")
    assert second.status_code == 202
    assert second.json()["id"] != first.json()["id"]
    assert second.content == post("b").content


def test_two_callers_may_use_the_same_idempotency_key(client, new_key):
    headers = {"Idempotency-Key": "k"}
    first = client.post("/v1/tickets", json={"body": "a"}, headers=headers)
    other = {"Authorization": f"Bearer {new_key('tickets:write')}"}
    assert client.post("/v1/tickets", json={"body": "b"}, headers=headers | other).status_code == 202
    assert first.status_code == 202


def test_many_at_once_with_one_key_make_one_ticket(client, sql):
    def post(_):
        return client.post("/v1/tickets", json={"body": "a"}, headers={"Idempotency-Key": "k"}).json()["id"]

    with ThreadPoolExecutor(16) as pool:
        assert len(set(pool.map(post, range(200)))) == 1
    assert sql("SELECT count(*) FROM tickets") == [(1,)]


def test_same_external_id_and_content_is_the_same_ticket(client, sql):
    given = {"body": "a", "external_id": "1", "source": "crm"}
    first, again = client.post("/v1/tickets", json=given), client.post("/v1/tickets", json=given)
    assert again.status_code == 202
    assert again.json() == first.json() | {"duplicate": True}
    assert client.post("/v1/tickets", json=given | {"source": "other"}).json()["id"] != first.json()["id"]
    assert sql("SELECT count(*) FROM tickets") == [(2,)]
    assert sql("SELECT count(*) FROM revisions") == [(0,)]


def test_other_content_under_the_same_external_id_opens_a_run_and_keeps_the_old_text(client, sql):
    first = client.post("/v1/tickets", json={"body": "a", "external_id": "1"})
    second = client.post("/v1/tickets", json={"body": "b", "external_id": "1"})
    assert second.json() == first.json()
    assert sql("SELECT run, body, raw, status FROM tickets") == [(2, "b", b'{"body":"b","external_id":"1"}', "queued")]
    assert sql("SELECT run, body, raw FROM revisions") == [(1, "a", b'{"body":"a","external_id":"1"}')]


def test_without_external_id_nothing_is_a_duplicate(client, sql):
    for _ in range(2):
        assert "duplicate" not in client.post("/v1/tickets", json={"body": "a"}).json()
    assert sql("SELECT count(*) FROM tickets") == [(2,)]


def test_a_bad_item_of_a_batch_sinks_no_other(client, sql, loaded):
    big = "x" * (loaded.settings.max_ticket_bytes + 1)
    given = [
        {"body": "a"},
        {"x": 1},
        {"body": "b", "external_id": "1"},
        {"body": big},
        {"body": "b", "external_id": "1"},
    ]
    answer = client.post("/v1/tickets/batch", json={"tickets": given})
    assert answer.status_code == 202
    items = answer.json()["items"]
    assert [item.get("status") or item["error"]["status"] for item in items] == ["queued", 422, "queued", 413, "queued"]
    assert items[4]["id"] == items[2]["id"]
    assert items[4]["duplicate"] is True
    assert sorted(sql("SELECT body, priority FROM tickets")) == [("a", 2), ("b", 2)]


def test_a_batch_is_repeated_as_one(client, sql):
    given = {"tickets": [{"body": "a"}, {"nothing": 1}, {"body": "b"}]}
    post = [client.post("/v1/tickets/batch", json=given, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert post[0].content == post[1].content
    assert sql("SELECT count(*) FROM tickets") == [(2,)]


@pytest.mark.parametrize(("then", "now"), [(1000, 4000), (4000, 1000), (100, 4000), (4000, 100)])
def test_a_batch_is_repeated_as_it_was_answered_also_after_the_limit_has_changed(loaded, new_key, sql, then, now):
    given = {"tickets": [{"body": "a" * size} for size in (2000, 200, 3000)] + [{"nothing": 1}]}
    auth = {"Authorization": f"Bearer {new_key('admin')}", "Idempotency-Key": "k"}

    def post(limit):
        settings = loaded.settings.model_copy(update={"max_ticket_bytes": limit})
        with serving(loaded.model_copy(update={"settings": settings})) as client:
            answer = client.post("/v1/tickets/batch", json=given, headers=auth)
            assert answer.status_code == 202
            return answer.json()["items"]

    first, again = post(then), post(now)
    assert [item.get("id") for item in again] == [item.get("id") for item in first]
    taken = [size if size < then else None for size in (2000, 200, 3000)] + [None]
    rows = dict(sql("SELECT id::text, length(body) FROM tickets"))
    assert [rows.get(item.get("id")) for item in again] == taken
    assert len(rows) == len(taken) - taken.count(None)
    assert "nothing: unknown key" in again[3]["error"]["detail"]
    if now > then:
        assert "first sent under this Idempotency-Key" in again[0]["error"]["detail"]


def test_what_an_earlier_release_kept_of_a_batch_is_repeated_or_refused(client, sql):
    def post(*tickets):
        return client.post("/v1/tickets/batch", json={"tickets": tickets}, headers={"Idempotency-Key": "k"})

    given = ({"nothing": 1}, {"body": "a"})
    first = post(*given)
    sql("UPDATE idempotency_keys SET answer = answer - 'refused'")
    assert post(*given).content == first.content
    sql("UPDATE idempotency_keys SET answer = jsonb_set(answer, '{receipts}', '[]')")
    assert "use a new key" in problem(post(*given), 422)["detail"]
    assert sql("SELECT count(*) FROM tickets") == [(1,)]


@pytest.mark.parametrize(
    "given", [{"tickets": []}, {"tickets": {}}, [], {"tickets": [{"body": "a"}] * 1001}, {"x": []}]
)
def test_a_batch_has_1_to_1000_tickets(client, given):
    problem(client.post("/v1/tickets/batch", json=given), 422)


def test_a_full_queue_is_429_with_retry_after(loaded, new_key, sql):
    limited = loaded.model_copy(update={"settings": loaded.settings.model_copy(update={"queue_limit": 2})})
    with serving(limited) as client:
        client.headers["Authorization"] = f"Bearer {new_key('admin')}"
        for status in (202, 202, 429):
            answer = client.post("/v1/tickets", json={"body": "a"})
            assert answer.status_code == status
        assert int(answer.headers["Retry-After"]) > 0
        problem(answer, 429)
    assert sql("SELECT count(*) FROM tickets") == [(2,)]


def test_an_edit_brings_everything_that_came_with_it(client, sql):
    first = {"body": "a", "external_id": "1", "requester": "ana", "language": "en", "metadata": {"n": 1}}
    client.post("/v1/tickets/batch", json={"tickets": [first]})
    client.post("/v1/tickets", json={"body": "b", "external_id": "1", "requester": "bob", "channel": "web"})
    rows = sql("SELECT body, requester, language, channel, metadata, priority FROM tickets")
    assert rows == [("b", "bob", None, "web", {}, 1)]


def test_sizes_are_those_of_the_text_not_of_its_escapes(client, sql, loaded):
    cyrillic = "\u0436" * 8000
    assert client.post("/v1/tickets", json={"body": "x", "metadata": {"a": cyrillic}}).status_code == 202
    body = "\u0436" * (loaded.settings.max_ticket_bytes // 2 - 100)
    answer = client.post("/v1/tickets/batch", json={"tickets": [{"body": body}]})
    assert "id" in answer.json()["items"][0]
    assert sql("SELECT octet_length(raw) FROM tickets WHERE length(body) > 1") == [(2 * len(body) + 12,)]


@pytest.mark.parametrize(
    "when", ["1767225600", "2026-01-01 12:00Z", "2026-01-01T12:00Z", "2026-13-01T00:00:00Z", 1767225600, 1.5, True]
)
def test_times_are_rfc_3339(client, when):
    found = problem(client.post("/v1/tickets", json={"body": "x", "created_at": when}), 422)
    assert "created_at: must be a time with its zone, such as 2026-01-31T12:00:00Z." in found["detail"]
