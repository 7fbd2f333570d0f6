"""Every command on the store: what it prints, its exit code, and one plain sentence when it cannot."""

import hashlib
import json
import os
import socket
import stat
import subprocess
from types import SimpleNamespace

import httpx
import psutil
import psycopg
import pytest
import yaml
from processes import TRIAGE, environment, eventually, free_port, gone
from rich.progress import Progress

import migrations
from models.db import conninfo
from models.errors import TriageError
from service.cli import backup, common, keys
from service.cli.demo import command as demo


def test_help_and_wrong_usage(triage):
    assert triage("--help").code == 0
    for wrong in (["nonsense"], ["keys", "create", "x"], ["report", "--format", "xml"], ["up", "--port", "many"]):
        ran = triage(*wrong)
        assert ran.code == 2
        assert ran.err


@pytest.mark.parametrize("command", [["keys", "list"], ["report"], ["migrate"], ["backup", "b"]])
def test_without_a_running_service_it_says_so(triage, command):
    assert triage("init").code == 0
    ran = triage(*command)
    assert ran.code == 1
    assert "start triage up" in ran.err
    assert len(ran.err.strip().splitlines()) == 1


def test_init_never_overwrites(triage, tmp_path):
    assert triage("init").code == 0
    (tmp_path / "triage.yaml").write_text("mine")
    ran = triage("init")
    assert (ran.code, (tmp_path / "triage.yaml").read_text()) == (1, "mine")
    assert "exists already" in ran.err


def test_a_key_is_shown_once_listed_without_its_text_and_revoked(stored, sql):
    made = json.loads(stored("keys", "create", "crm", "--scope", "tickets:write", "--source", "crm", "--json").out)
    assert set(made) == {"id", "name", "key", "scopes", "source"}
    assert sql("SELECT sha256, source FROM api_keys") == [(hashlib.sha256(made["key"].encode()).digest(), "crm")]
    for listed in (stored("keys", "list"), stored("keys", "list", "--json")):
        assert made["id"] in listed.out
        assert made["key"] not in listed.out
    assert stored("keys", "revoke", made["id"]).code == 0
    assert sql("SELECT revoked_at IS NOT NULL FROM api_keys") == [(True,)]
    assert stored("keys", "revoke", "01a1feef-60f3-7010-b789-e50222ae6516").code == 1
    unknown = stored("keys", "create", "x", "--scope", "all")
    assert (unknown.code, "tickets:write" in unknown.err) == (2, True)
    assert "what it is for" in stored("keys", "create", " ", "--scope", "admin").err


def test_labels_that_go_and_tickets_that_keep_them_are_named(stored, client, drain, sql, tmp_path):
    stored("migrate")
    client.post("/v1/tickets/batch", json={"tickets": [{"body": "I want a refund"}] * 3}).raise_for_status()
    drain.run()
    (label,) = {label for (label,) in sql("SELECT label FROM triages")}
    file = tmp_path / "taxonomy.yaml"
    with_it = file.read_text()
    document = yaml.safe_load(with_it)
    labels = document["fields"]["category"]["labels"]
    unused = next(one["id"] for one in labels if one["id"] not in (label, "other"))
    for left_out, said in (
        (unused, ""),
        (label, f"labels that tickets have: category/{label} (3 tickets). They keep them,"),
    ):
        labels[:] = [one for one in labels if one["id"] != left_out]
        file.write_text(yaml.safe_dump(document))
        ran = stored("migrate")
        assert f"- category/{left_out}" in ran.err
        assert said in ran.err
        assert ("labels that tickets have" in ran.err) == bool(said)
    assert set(sql("SELECT label, taxonomy_version FROM triages")) == {(label, 1)}


def test_migrate_is_repeatable_and_check_tells(stored, sql):
    assert stored("migrate").code == 0
    assert stored("migrate", "--check").code == 0
    sql("UPDATE alembic_version SET version_num = 'older'")
    ran = stored("migrate", "--check")
    assert ran.code == 1
    assert "run triage migrate" in ran.err


def test_a_changed_taxonomy_is_the_next_version_and_the_change_is_printed(stored, sql, tmp_path):
    path = tmp_path / "taxonomy.yaml"
    path.write_text(
        path.read_text().replace("title: Refunds", "title: Money back").replace("- id: top_up", "- id: credit")
    )
    said = stored("migrate").err
    assert "version 2: + category/credit, - category/top_up, ~ category/refunds." in said
    assert sql("SELECT max(version) FROM taxonomy_versions") == [(2,)]
    assert "version" not in stored("migrate").err


def test_report_as_json_is_the_api_s(stored, client, drain):
    ticket = client.post("/v1/tickets", json={"body": "I want a refund"}).json()
    drain.run()
    client.post(f"{ticket['url']}/verdicts", json={"field": "category", "label": "refunds", "source": "dataset"})
    ours, theirs = json.loads(stored("report", "--format", "json").out), client.get("/v1/report").json()
    ours.pop("generated_at"), theirs.pop("generated_at")
    assert ours == theirs
    text = stored("report").out
    assert "cascade as served" in text
    assert "n=1" in text


def test_a_report_over_nothing_says_what_is_missing(stored):
    assert "not enough verdicts" in stored("report").out


def test_backup_and_restore_bring_everything_back(stored, client, drain, sql, tmp_path):
    tables = ("tickets", "predictions", "triages", "verdicts", "api_keys", "llm_versions", "taxonomy_versions")
    client.post("/v1/tickets", json={"body": "I want a refund", "external_id": "1"})
    drain.run()

    def content():
        return {table: sql(f"SELECT * FROM {table} ORDER BY 1") for table in tables}

    before = content()
    assert stored("backup", "all.dump").code == 0
    assert stat.S_IMODE((tmp_path / "all.dump").stat().st_mode) == 0o600
    assert stored("backup", "all.dump").code == 1
    client.post("/v1/tickets", json={"body": "later"})
    assert "--replace" in stored("restore", "all.dump").err
    assert content() != before
    assert stored("restore", "all.dump", "--replace").code == 0
    assert content() == before


def test_a_backup_of_an_older_version_is_brought_to_this_one(stored, client, database_url):
    ticket = client.post("/v1/tickets", json={"body": "kept"}).json()["id"]
    migrations.downgrade(database_url, "0009")
    assert stored("backup", "old.dump").code == 0
    assert stored("restore", "old.dump", "--replace").code == 0
    assert migrations.current(database_url) == migrations.head()
    assert client.get(f"/v1/tickets/{ticket}").json()["status"] == "queued"


def test_restoring_rubbish_changes_nothing(stored, client, sql, tmp_path):
    client.post("/v1/tickets", json={"body": "a"})
    (tmp_path / "rubbish").write_bytes(b"PGDMP" + b"\0" * 100)
    (tmp_path / "notes").write_bytes(b"no backup at all")
    says = {"rubbish": "The store is as it was.", "notes": "notes is no backup", "nowhere": "There is no file"}
    for name, why in says.items():
        ran = stored("restore", name, "--replace")
        assert (ran.code, why in ran.err) == (1, True)
    assert sql("SELECT body FROM tickets") == [("a",)]


def test_a_restore_that_is_killed_takes_pg_restore_along(stored, client, sql, tmp_path):
    client.post("/v1/tickets", json={"body": "kept"})
    assert stored("backup", "all.dump").code == 0
    client.post("/v1/tickets", json={"body": "later"})
    its = environment(**{name: os.environ[name] for name in ("TRIAGE_DATABASE_URL", "TRIAGE_REDIS_URL")})
    with psycopg.connect(conninfo(os.environ["TRIAGE_DATABASE_URL"])) as connection:
        connection.execute("LOCK TABLE tickets IN ACCESS SHARE MODE")  # pg_restore cannot drop it
        restore = subprocess.Popen([*TRIAGE, "restore", "all.dump", "--replace"], env=its, cwd=tmp_path)
        (child,) = eventually(psutil.Process(restore.pid).children)
        eventually(lambda: sql("SELECT count(*) FROM pg_locks WHERE NOT granted")[0][0] > 0)
        restore.kill()
        restore.wait()
        eventually(lambda: gone([child]))
    assert sql("SELECT count(*) FROM tickets") == [(2,)]


def test_a_backup_never_has_part_of_another(stored, client, monkeypatch, tmp_path):
    """Two at once to one name: each has a file of its own until it is whole."""
    client.post("/v1/tickets", json={"body": "kept"})
    real, parts = backup._run, []

    def run(*words):
        parts.append(words[-1])
        if len(parts) == 1:
            other = subprocess.run([*TRIAGE, "backup", "all.dump"], env=os.environ, cwd=tmp_path)
            assert other.returncode == 0
        real(*words)

    monkeypatch.setattr(backup, "_run", run)
    assert stored("backup", "all.dump").code == 0
    assert [path.name for path in tmp_path.iterdir() if "dump" in path.name] == ["all.dump"]
    assert stored("restore", "all.dump", "--replace").code == 0
    assert "There is no folder nowhere" in stored("backup", "nowhere/all.dump").err


def test_doctor_names_what_is_wrong_and_hides_secrets(stored, monkeypatch):
    monkeypatch.setenv("TRIAGE_API_KEY", "hunter2")
    monkeypatch.setenv("TRIAGE_PORT", "9")
    ran = stored("doctor")
    assert ran.code == 1  # no API runs at this port
    assert "start triage up" in ran.out
    assert "hunter2" not in ran.out
    lines = {line["what"]: line["ok"] for line in json.loads(stored("doctor", "--json").out)}
    assert lines.pop("API") is False
    assert all(lines.values()), lines
    assert {"configuration", "taxonomy", "llm primary", "llm fallback", "Postgres", "Redis"} <= set(lines)


def test_doctor_with_broken_configuration(triage, tmp_path):
    (tmp_path / "triage.yaml").write_text("policy: [")
    ran = triage("doctor")
    assert ran.code == 1
    assert "not valid YAML" in ran.out


def test_a_password_is_in_no_sentence(triage, monkeypatch):
    assert triage("init").code == 0
    monkeypatch.setenv("TRIAGE_DATABASE_URL", "postgresql://u:hunter2@127.0.0.1:9/d")
    for command in (["keys", "list"], ["report"], ["backup", "b"], ["migrate"], ["doctor"]):
        ran = triage(*command)
        assert ran.code == 1
        assert "hunter2" not in ran.out + ran.err


def test_serve_and_worker_need_their_urls(triage):
    assert triage("init").code == 0
    for command in ("serve", "worker"):
        ran = triage(command)
        assert ran.code == 1
        assert "triage up" in ran.err


def test_up_refuses_a_port_that_is_taken_before_it_starts_anything(triage, tmp_path):
    assert triage("init").code == 0
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        ran = triage("up", "--port", other.getsockname()[1])
    assert ran.code == 1
    assert "--port" in ran.err
    assert not (tmp_path / ".triage").exists()


def test_the_password_of_a_backup_is_in_no_process_list(monkeypatch, tmp_path):
    seen = {}

    def run(command, env, **_):
        seen.update(command=command, env=env)
        return subprocess.CompletedProcess(command, 0)

    monkeypatch.setattr(backup.subprocess, "run", run)
    backup._run("postgresql://u:hunter2@h/d?sslmode=require", "pg_dump", "--file=x")
    assert seen["env"]["PGPASSWORD"] == "hunter2"
    assert "hunter2" not in " ".join(seen["command"])
    assert "--dbname=postgresql://u@h/d?sslmode=require" in seen["command"]


def test_a_demo_reads_nothing_of_the_user_and_empties_no_other_database(
    monkeypatch, tmp_path, database_url, sql, client
):
    client.post("/v1/tickets", json={"body": "mine"})
    (tmp_path / ".env").write_text(f"TRIAGE_DATABASE_URL={database_url}\nTRIAGE_QUEUE_LIMIT=1\nTRIAGE_PROT=1\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRIAGE_QUEUE_LIMIT", "2")
    monkeypatch.setenv("TRIAGE_DATABASE_URL", database_url)
    demo._own_folder()
    loaded = demo._own_settings()
    assert loaded.settings.database_url is None
    assert loaded.settings.queue_limit == 100_000
    with pytest.raises(TriageError, match="not its own"):
        demo._from_zero(loaded, database_url)
    assert sql("SELECT body FROM tickets") == [("mine",)]


def test_a_demo_prints_no_report_before_all_is_counted(monkeypatch):
    late = iter([2, 1, 0])
    answer = lambda request: httpx.Response(200, json={"counted": {"behind_hours": next(late)}})  # noqa: E731
    monkeypatch.setattr(demo.time, "sleep", lambda _: None)
    with httpx.Client(transport=httpx.MockTransport(answer), base_url="http://demo") as client, Progress() as bars:
        found = demo._Demo(SimpleNamespace(check=lambda: None), client, [])._report(bars)
    assert (found, list(late)) == ({"counted": {"behind_hours": 0}}, [])


def test_up_says_what_a_connection_lacks_before_it_starts_anything(triage, tmp_path):
    assert triage("init").code == 0
    connection = {"name": "crm", "kind": "generic", "map": {"external_id": "id", "body": "text"}}
    connection["token"] = {"header": "X-Token", "secret_env": "CRM_TOKEN"}
    written = tmp_path / "triage.yaml"
    config = yaml.safe_load(written.read_text()) | {"connections": [connection]}
    written.write_text(yaml.safe_dump(config))
    ran = triage("up", "--port", str(free_port()))
    assert ran.code == 1
    assert ran.err.strip().endswith("(token.secret_env) is not set; put the shared secret there.")
    assert len(ran.err.strip().splitlines()) == 1
    assert not (tmp_path / ".triage").exists()


@pytest.mark.parametrize(
    ("name", "value", "command"),
    [
        ("TRIAGE_REDIS_URL", "localhost:6379", "doctor"),
        ("TRIAGE_DATABASE_URL", "postgresql://u:hunter2@h:abc/d", "migrate"),
        ("TRIAGE_DATABASE_URL", "mysql://h/d", "report"),
    ],
)
def test_a_wrong_url_is_named_and_not_repeated(triage, monkeypatch, name, value, command):
    assert triage("init").code == 0
    monkeypatch.setenv(name, value)
    ran = triage(command)
    assert ran.code == 1
    assert name in ran.out + ran.err
    assert "hunter2" not in ran.out + ran.err


def test_a_folder_or_file_that_cannot_be_used_is_one_sentence(stored, tmp_path):
    (tmp_path / "file").write_text("")
    for command in (["backup", "nowhere/f"], ["init", "file"], ["up", "--data-dir", "file", "--port", "1"]):
        ran = stored(*command)
        assert ran.code == 1
        assert len(ran.err.strip().splitlines()) == 1


def test_a_database_that_was_never_migrated_is_one_sentence_and_can_be_restored_into(stored, client, sql, tmp_path):
    client.post("/v1/tickets", json={"body": "kept"})
    assert stored("backup", "all.dump").code == 0
    sql("DROP SCHEMA public CASCADE")
    sql("CREATE SCHEMA public")
    ran = stored("keys", "list")
    assert ran.code == 1
    assert "triage migrate" in ran.err
    assert stored("restore", "all.dump").code == 0
    assert sql("SELECT body FROM tickets") == [("kept",)]


def test_names_are_not_markup(stored):
    assert stored("keys", "create", "crm [prod] [/b]", "--scope", "admin").code == 0
    assert "crm [prod] [/b]" in stored("keys", "list").out


def test_the_id_of_a_key_is_never_cut(stored, monkeypatch, capsys):
    made = json.loads(stored("keys", "create", "a name that needs room", "--scope", "admin", "--json").out)
    monkeypatch.setattr(common.screen, "_width", 80)
    capsys.readouterr()
    keys.list_keys()
    assert made["id"] in capsys.readouterr().out


def test_an_env_file_in_another_encoding_is_one_sentence(triage, tmp_path):
    assert triage("init").code == 0
    (tmp_path / ".env").write_bytes("TRIAGE_PORT=1".encode("utf-16"))
    ran = triage("report")
    assert ran.code == 1
    assert "UTF-8" in ran.err


def test_doctor_sees_a_label_that_no_llm_knows(stored, tmp_path):
    path = tmp_path / "taxonomy.yaml"
    path.write_text(path.read_text().replace("- id: refunds", "- id: dragons"))
    said = {line["what"]: line for line in json.loads(stored("doctor", "--json").out)}
    assert said["taxonomy"]["ok"] is False
    assert "primary was not trained on dragons" in said["taxonomy"]["says"]


def test_version(triage):
    assert triage("--version").out == "0.1.0\n"
