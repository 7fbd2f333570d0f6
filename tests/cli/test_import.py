"""import: a file of tickets through a running API; again, interrupted or half wrong, each good row is there once."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import threading

import httpx
import pytest
import taxonomies
from processes import eventually, free_port
from serving import draining, serving

from models import taxonomy
from models.db import transaction
from service import settings
from service.cli import ticketfile
from service.cli.imports import client as over_http
from service.cli.imports import waiting
from service.cli.imports.client import Client

COUNT = "SELECT count(*) FROM tickets"


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def numbered(count):
    return lines({"body": f"question {number} about my card"} for number in range(count))


@pytest.fixture
def key(new_key, monkeypatch):
    made = new_key("admin")
    monkeypatch.setenv("TRIAGE_API_KEY", made)
    return made


@pytest.fixture
def at(stored, monkeypatch, tmp_path):
    """Imports text into the service that a client reaches."""

    def ready(client):
        monkeypatch.setenv("TRIAGE_PORT", str(client.base_url.port))

        def run(text, *options, name="t.jsonl"):
            (tmp_path / name).write_text(text, encoding="utf-8")
            return stored("import", name, *options)

        return run

    return ready


@pytest.fixture
def post(at, client, key):
    return at(client)


@pytest.fixture
def limited(loaded):
    """The service with other limits."""

    def make(**limits):
        return serving(loaded.model_copy(update={"settings": loaded.settings.model_copy(update=limits)}))

    return make


def test_rows_become_tickets_once_however_often_they_are_posted(post, sql):
    rows = [
        {"id": 7, "subject": "Card", "body": "Where is it?", "lang": "en", "created_at": "2026-01-01T00:00:00Z"},
        {"body": "ohne \ud800 Nummer", "language": "de", "metadata": {"a": 1}},
    ]
    ran = post(lines(rows), "--json")
    assert json.loads(ran.out) == {"tickets": 2, "known": 0, "bad": [], "bad_verdicts": []}
    stored = (
        "SELECT source, external_id, subject, body, language, priority, run, metadata, created_at::text FROM tickets"
    )
    before = sql(f"{stored} ORDER BY language DESC")
    assert before[0] == ("import", "7", "Card", "Where is it?", "en", 2, 1, {}, "2026-01-01 00:00:00+00")
    assert re.fullmatch("[0-9a-f]{16}:2", before[1][1])
    assert before[1][2:] == ("", "ohne \ufffd Nummer", "de", 2, 1, {"a": 1}, None)
    assert json.loads(post(lines(rows), "--json").out) == {"tickets": 2, "known": 2, "bad": [], "bad_verdicts": []}
    assert sql(f"{stored} ORDER BY language DESC") == before
    assert post(lines(rows), "--source", "crm").code == 0
    assert sql("SELECT source, count(*) FROM tickets GROUP BY 1 ORDER BY 1") == [("crm", 2), ("import", 2)]


def test_a_csv_and_the_columns_that_tickets_do_not_have(post, sql):
    text = 'id,subject,body,created_at,label,mood\x1b[2J\n1,,I want a refund,,refunds,bad\n2,Card,"two\nlines",,,\n'
    ran = post(text, name="t.csv")
    assert ran.code == 0
    assert "mood" in ran.err
    assert "\x1b[2J" not in ran.err
    assert sql("SELECT external_id, subject, body, created_at FROM tickets ORDER BY 1") == [
        ("1", "", "I want a refund", None),
        ("2", "Card", "two\nlines", None),
    ]


def test_a_long_cell_of_a_csv_is_one_ticket(post, sql):
    long = "a line of a log\n" * 14_000  # 210,000 characters
    ran = post(f'id,body\n1,first\n2,"{long}"\n3,last\n', "--json", name="t.csv")
    assert json.loads(ran.out) == {"tickets": 3, "known": 0, "bad": [], "bad_verdicts": []}
    assert sql("SELECT external_id, length(body) FROM tickets ORDER BY 1") == [("1", 5), ("2", len(long)), ("3", 4)]


def test_a_csv_with_a_cell_that_never_ends_posts_nothing(post, sql, monkeypatch):
    monkeypatch.setattr(ticketfile, "MOST_CHARS", 1_000)
    before = csv.field_size_limit()
    try:
        ran = post('id,body\n1,first\n2,"no end\n' + "3,third\n" * 500, name="t.csv")
    finally:
        csv.field_size_limit(before)
    assert ran.code == 1
    assert re.search(r"t\.csv, line 3: field larger than .* Is a quotation mark missing\?", ran.err)
    assert sql(COUNT) == [(0,)]


@pytest.mark.parametrize(
    ("first", "told"),
    [
        (
            "id;body",
            "t.csv: its first line names no column `body`, only `id;body`: are the columns separated by commas?",
        ),
        ("id,text", "t.csv: its first line names no column `body`, only `id,text`."),
        ("a" * 500, f"only `{'a' * 80}`:"),
        ("a\x1b[2J", "only `a [2J`:"),
    ],
)
def test_a_csv_without_a_body_is_refused_as_a_whole(post, sql, first, told):
    ran = post(f"{first}\n1,a\n2,b\n", name="t.csv")
    assert ran.code == 1
    (said,) = ran.err.strip().splitlines()
    assert told in said
    assert sql(COUNT) == [(0,)]


def test_a_row_with_other_columns_than_the_first_line_is_bad(post, sql):
    ran = post("id,body,label\n1,a,\n2,b, and more,\n3,c\n4,d,\n", name="t.csv")
    assert ran.code == 1
    named = dict(re.findall(r"^line (\d+): (.+)", ran.err, re.MULTILINE))
    assert {line: why.partition(".")[0] for line, why in named.items()} == {
        "3": "it has 4 columns, and the first line names 3",
        "4": "it has 2 columns, and the first line names 3",
    }
    assert sql("SELECT external_id FROM tickets ORDER BY 1") == [("1",), ("4",)]


@pytest.mark.parametrize("source", ["", "a" * 256])
def test_a_source_that_no_ticket_may_have_posts_nothing(post, sql, source):
    ran = post(numbered(3), "--source", source)
    assert ran.code == 2
    assert "--source" in ran.err
    assert "string should have at" in ran.err
    assert sql(COUNT) == [(0,)]


def test_bad_rows_are_named_and_stop_no_others(post, sql, loaded):
    wrong = {
        2: "{",
        3: '{"text": "a"}',
        4: '{"body": "b", "subject": 1}',
        5: '{"id": "1", "body": "twice"}',
        6: '{"id": ["x"], "body": "c"}',
        7: '{"id": "' + "x" * 256 + '", "body": "d"}',
        8: '{"body": "e", "metadata": {"n": NaN}}',
        9: json.dumps({"body": "x" * (loaded.settings.max_ticket_bytes + 1)}),
        10: '{"body": "f", "label": 5}',
        11: "[" * 100_000,
    }
    ran = post("\n".join(['{"id": "1", "body": "first"}', *wrong.values(), '{"id": "12", "body": "last"}']) + "\n")
    assert ran.code == 1
    named = dict(re.findall(r"^line (\d+): (.+)", ran.err, re.MULTILINE))
    assert [int(line) for line in named] == list(wrong)
    assert "line 1 already" in named["5"]
    assert "external_id" in named["7"]
    assert "larger" in named["9"]
    assert "10 rows were not taken" in ran.err
    assert sql("SELECT external_id, body, run FROM tickets ORDER BY 1") == [("1", "first", 1), ("12", "last", 1)]


def test_many_bad_rows_are_counted_and_not_all_shown(post):
    ran = post("{\n" * 50, "--json")
    assert (ran.code, len(json.loads(ran.out)["bad"])) == (1, 50)
    ran = post("{\n" * 50)
    assert len(re.findall("^line ", ran.err, re.MULTILINE)) == 20
    assert "50 rows" in ran.err


def test_killed_in_the_middle_and_run_again(limited, client, at, key, sql, tmp_path):
    (tmp_path / "t.jsonl").write_text(numbered(1500))
    with limited(queue_limit=500) as narrow:  # it waits there, as long as nobody classifies
        port = {"TRIAGE_PORT": str(narrow.base_url.port)}
        command = [sys.executable, "-m", "service.cli", "import", "t.jsonl"]
        with (tmp_path / "printed").open("wb") as printed:
            first = subprocess.Popen(command, cwd=tmp_path, env=os.environ | port, stdout=printed, stderr=printed)
        try:
            eventually(lambda: sql(COUNT)[0][0] >= 400)
        finally:
            first.send_signal(signal.SIGKILL)
            first.wait()
    ((before,),) = sql(COUNT)
    assert before < 1500
    ran = at(client)(numbered(1500), "--json")
    assert json.loads(ran.out) == {"tickets": 1500, "known": before, "bad": [], "bad_verdicts": []}
    assert sql("SELECT count(*), count(DISTINCT body), max(run) FROM tickets") == [(1500, 1500, 1)]


def test_a_full_queue_is_waited_for(limited, at, key, drain, sql, monkeypatch):
    waited = []

    def sleep(seconds):
        waited.append(seconds)
        drain.run()
        threading.Event().wait(0.1)  # the service counts its queue once a second

    monkeypatch.setattr(over_http, "sleep", sleep)
    with limited(queue_limit=10) as narrow:
        ran = at(narrow)(numbered(25), "--json")
    assert json.loads(ran.out) == {"tickets": 25, "known": 0, "bad": [], "bad_verdicts": []}
    assert set(waited) == {30}
    assert sql(COUNT) == [(25,)]


def test_what_is_too_much_for_one_request_goes_in_several(limited, at, key, sql):
    with limited(max_request_bytes=2048) as narrow:
        ran = at(narrow)(numbered(100) + lines([{"body": "x" * 3000}]), "--json")
    assert [row["line"] for row in json.loads(ran.out)["bad"]] == [101]
    assert sql(COUNT) == [(100,)]


def test_a_service_that_is_away_for_a_moment_is_asked_again(monkeypatch, key):
    answers = iter([200, 503, httpx.ConnectError("away"), httpx.ReadTimeout("slow"), 202])
    keys, waited = [], []

    def serve(request):
        answer = next(answers)
        keys.append(request.headers.get("idempotency-key"))
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(answer, json={}, headers={"Retry-After": "7"})

    monkeypatch.setattr(over_http, "sleep", waited.append)
    with over_http.Client(settings.settings(None)) as client:
        client.http = httpx.Client(transport=httpx.MockTransport(serve), base_url=client.url)
        client.get("/v1/taxonomy")
        assert client.post("/v1/tickets/batch", "{}", **{"Idempotency-Key": "k"}).status_code == 202
    assert keys == [None, "k", "k", "k", "k"]
    assert waited == [7, 2, 4]


def test_it_waits_for_the_results_and_counts_them(post, drain, sql):
    with draining(drain):
        ran = post(numbered(30) + lines([{"body": ""}]), "--wait", "--json")
    assert ran.code == 0
    outcomes = {(row["status"], row["action"]): row["n"] for row in json.loads(ran.out)["outcomes"]}
    assert outcomes == {("done", action): n for action, n in sql("SELECT action, count(*) FROM triages GROUP BY 1")}
    assert sum(outcomes.values()) == 31
    assert "done, review: " in post(numbered(30) + lines([{"body": ""}]), "--wait").out


@pytest.fixture
def asked(monkeypatch):
    """What is read of the service, with pages of twenty."""
    paths, real = [], Client.get
    monkeypatch.setattr(waiting, "PAGE", 20)

    def get(client, path):
        paths.append("page" if "?" in path else path.partition("/v1/")[2].partition("/")[0])
        return real(client, path)

    monkeypatch.setattr(Client, "get", get)
    return paths


def test_what_is_done_is_read_in_pages(post, drain, asked):
    with draining(drain):
        first = post(numbered(50), "--wait", "--json")
    del asked[:]
    again = post(numbered(50), "--wait", "--json")
    assert asked == ["page"] * 3
    assert json.loads(again.out)["outcomes"] == json.loads(first.out)["outcomes"]


def test_what_stands_under_many_newer_ones_is_found_too(post, drain, asked, sql, monkeypatch):
    monkeypatch.setattr(waiting, "STRANGERS", 0)
    assert post(numbered(5)).code == 0
    assert post(lines({"id": n, "body": "another question"} for n in range(30))).code == 0
    drain.run()
    ran = post(numbered(5), "--wait", "--json")
    assert asked == ["page"] + ["tickets"] * 5
    assert sum(row["n"] for row in json.loads(ran.out)["outcomes"]) == 5


def test_outcomes_of_several_fields_are_counted_apart(post, drain, sql, database):
    with transaction(database) as session:
        taxonomy.store(session, taxonomies.demo("category", "intent"))
    with draining(drain):
        ran = post(numbered(5), "--wait")
    found = sql("SELECT field, action, count(*) FROM triages GROUP BY 1, 2 ORDER BY 1, 2")
    assert ran.out.splitlines()[1:] == [f"done, {field}, {action}: {n}" for field, action, n in found]


def test_labels_become_verdicts_when_asked_for(post, sql):
    rows = [
        {"id": "1", "body": "a", "label": "refunds"},
        {"id": "2", "body": "b", "label": {"category": "top_up"}},
        {"id": "3", "body": "c"},
    ]
    assert post(lines(rows)).code == 0
    assert sql("SELECT count(*) FROM verdicts") == [(0,)]
    for _ in range(2):
        assert post(lines(rows), "--verdicts", "dataset").code == 0
        assert sql("SELECT label, source FROM verdicts ORDER BY 1") == [("refunds", "dataset"), ("top_up", "dataset")]
    ran = post(lines([{"id": "4", "body": "d", "label": "dragons"}]), "--verdicts", "import")
    assert ran.code == 1
    assert "line 1: the ticket is in, its verdict is not: label" in ran.err
    assert sql("SELECT count(*) FROM tickets WHERE external_id = '4'") == [(1,)]


def test_a_refused_verdict_is_no_refused_row(post, sql):
    rows = [{"id": str(n), "body": "a", "label": "dragons"} for n in range(2)]
    ran = post(lines(rows), "--verdicts", "dataset")
    assert ran.code == 1
    assert "2 verdicts were not taken. The tickets themselves are in." in ran.err
    assert "rows" not in ran.err
    ran = post(lines(rows[:1]) + "{\n", "--verdicts", "dataset")
    assert "Triage has 1 ticket of this file" in ran.out
    assert "1 row was not taken." in ran.err
    assert "1 verdict was not taken." in ran.err
    ran = post(lines(rows) + "{\n", "--verdicts", "dataset", "--json")
    found = json.loads(ran.out)
    assert (ran.code, [row["line"] for row in found["bad"]]) == (1, [3])
    assert [row["line"] for row in found["bad_verdicts"]] == [1, 2]
    assert sql(COUNT) == [(2,)]


@pytest.fixture
def vocabulary(database):
    """Puts another vocabulary in force: two labels for each field."""

    def store(*fields):
        labels = {"labels": [{"id": "refunds"}, {"id": "top_up"}]}
        with transaction(database) as session:
            taxonomy.store(session, taxonomy.Taxonomy.model_validate({"fields": dict.fromkeys(fields, labels)}))

    return store


def test_a_plain_label_is_of_the_only_field_where_there_is_no_category(post, sql, vocabulary):
    vocabulary("queue")
    assert post(lines([{"body": "a", "label": "refunds"}]), "--verdicts", "import").code == 0
    assert sql("SELECT field, label FROM verdicts") == [("queue", "refunds")]


def test_a_plain_label_is_of_the_category_where_there_is_one(post, sql, vocabulary):
    vocabulary("area", "category")
    assert post(lines([{"body": "a", "label": "refunds"}]), "--verdicts", "import").code == 0
    assert sql("SELECT field, label FROM verdicts") == [("category", "refunds")]


def test_a_plain_label_of_several_fields_is_no_guess(post, sql, vocabulary):
    vocabulary("queue", "priority")
    ran = post(lines([{"body": "a", "label": "refunds"}]), "--verdicts", "import")
    assert ran.code == 1
    assert "A label must say of which field it is, as in {priority: ...}" in ran.err
    assert sql("SELECT count(*) FROM verdicts") == [(0,)]


@pytest.mark.parametrize("wrong", ["nonsense", "triage_" + "a" * 43, "two\nlines", "\u00e9", " "])
def test_a_wrong_key_is_one_sentence_that_does_not_repeat_it(at, client, monkeypatch, sql, wrong):
    monkeypatch.setenv("TRIAGE_API_KEY", wrong)
    ran = at(client)(numbered(3))
    assert ran.code == 1
    (said,) = ran.err.strip().splitlines()
    assert "key" in said
    assert not wrong.strip() or wrong not in ran.err + ran.out
    assert sql(COUNT) == [(0,)]


def test_a_key_without_the_scope_says_which(at, client, new_key, monkeypatch):
    monkeypatch.setenv("TRIAGE_API_KEY", new_key("tickets:read"))
    ran = at(client)(numbered(3))
    assert ran.code == 1
    assert "lacks the scope tickets:write" in ran.err


def test_the_key_of_the_data_folder_will_do(at, client, new_key, tmp_path, sql):
    ran = at(client)(numbered(3))
    assert ran.code == 1
    assert "set TRIAGE_API_KEY" in ran.err
    (tmp_path / ".triage").mkdir()
    (tmp_path / ".triage" / "key").write_text(new_key("tickets:write") + "\n")
    assert at(client)(numbered(3)).code == 0
    assert sql(COUNT) == [(3,)]


def test_without_a_service_it_says_how_to_start_one(stored, key, monkeypatch, tmp_path):
    monkeypatch.setenv("TRIAGE_PUBLIC_URL", f"http://127.0.0.1:{free_port()}")
    (tmp_path / "t.jsonl").write_text(numbered(3))
    ran = stored("import", "t.jsonl")
    assert ran.code == 1
    assert "start triage up" in ran.err
    assert key not in ran.err


def test_a_file_that_cannot_be_read_posts_nothing(post, stored, sql, tmp_path):
    (tmp_path / "latin.jsonl").write_bytes(numbered(300).encode() + '{"body": "\u00e9"}'.encode("latin-1"))
    for name, says in (("latin.jsonl", "UTF-8"), ("nowhere.jsonl", "nowhere")):
        ran = stored("import", name)
        assert ran.code == 1
        assert says in ran.err
    assert stored("import", "-").code == 2
    assert sql(COUNT) == [(0,)]


def test_a_csv_with_a_cell_that_is_never_closed_posts_nothing(post, sql):
    ran = post('id,body\na1,fine\na2,"unclosed\na3,third\na4,fourth\n', name="t.csv")
    assert ran.code == 1
    assert re.search(r"t\.csv, line 3: unexpected end of data\. Is a quotation mark missing\?", ran.err)
    assert sql(COUNT) == [(0,)]
