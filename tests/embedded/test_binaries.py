"""Where the programs come from, and what the user reads where they cannot be had or run."""

from pathlib import Path

import pytest

from models.errors import ServerError
from service import binaries


@pytest.fixture
def no_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda package: None)
    monkeypatch.setattr(binaries, "DEBIAN", Path("/nowhere"))


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An otherwise empty PATH."""
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def program(path: Path, text: str = "exit 0") -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_the_newest_postgres_of_the_wheel_is_taken() -> None:
    found = Path(binaries.postgres_program("initdb"))
    assert found.parent == Path(binaries.postgres_program("postgres")).parent
    assert found.parts[-3:] == ("pginstall18", "bin", "initdb")


@pytest.mark.usefixtures("no_wheels")
def test_without_the_wheels_the_machines_own_programs_are_taken(path: Path) -> None:
    wanted = program(path / "postgres")
    program(path / "initdb")
    assert binaries.postgres_program("postgres") == wanted
    valkey = program(path / "valkey-server")
    assert binaries.redis_program() == valkey
    redis = program(path / "redis-server")
    assert binaries.redis_program() == redis


@pytest.mark.usefixtures("no_wheels")
def test_debians_folders_are_searched_newest_first(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "DEBIAN", path)
    for version in ("9", "17"):
        program(path / version / "bin" / "initdb")
        program(path / version / "bin" / "postgres")
    assert binaries.postgres_program("postgres") == str(path / "17" / "bin" / "postgres")


@pytest.mark.usefixtures("no_wheels", "path")
def test_without_any_the_sentence_says_what_to_install() -> None:
    with pytest.raises(ServerError, match="No Postgres was found: install your system's postgresql package"):
        binaries.postgres_program("postgres")
    with pytest.raises(ServerError, match="No Redis was found: install your system's redis-server or valkey-server"):
        binaries.redis_program()


def test_an_ordinary_user_runs_postgres_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries.os, "geteuid", lambda: 1234)
    assert binaries.for_postgres(["postgres", "-D", "data"]) == ["postgres", "-D", "data"]


@pytest.mark.parametrize(
    ("unshare", "sentence"),
    [
        (None, "does not permit the user namespace"),
        ("echo 'unshare: unshare failed: Operation not permitted' >&2; exit 1", "does not permit the user namespace"),
        ("echo 'unshare: failed to execute x: Permission denied' >&2; exit 126", "another user's private folder"),
        ("echo 'error while loading shared libraries: libfoo' >&2; exit 127", "does not run on this machine: .*libfoo"),
    ],
)
def test_root_without_a_way_to_run_postgres_reads_what_to_do(
    path: Path, monkeypatch: pytest.MonkeyPatch, unshare: str | None, sentence: str
) -> None:
    monkeypatch.setattr(binaries.os, "geteuid", lambda: 0)
    if unshare:
        program(path / "unshare", unshare)
    with pytest.raises(ServerError, match=sentence):
        binaries.check_postgres()
