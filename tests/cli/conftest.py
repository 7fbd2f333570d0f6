"""The command line in this process: its exit code, what it prints, what it complains about."""

import sys
from dataclasses import dataclass

import pytest
import structlog
import taxonomies

from service.cli import common, main


@dataclass
class Ran:
    code: int
    out: str
    err: str


@pytest.fixture
def triage(capsys, monkeypatch, tmp_path):
    """Runs one command in an empty folder; rich's output is as wide as needed."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["triage", *map(str, arguments)])
        monkeypatch.setattr(common.screen, "_width", 300)
        monkeypatch.setattr(common.notes, "_width", 300)
        code = 0
        try:
            main()
        except SystemExit as end:
            code = end.code
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return Ran(code, captured.out, captured.err)

    yield run
    structlog.reset_defaults()  # a command sets up logging for its whole process


@pytest.fixture
def stored(triage, monkeypatch, database_url, servers, tmp_path):
    """The same, over a database of the test's own and the committed configuration with the labels stored there."""
    monkeypatch.setenv("TRIAGE_DATABASE_URL", database_url)
    monkeypatch.setenv("TRIAGE_REDIS_URL", servers.redis_url)
    assert triage("init").code == 0
    (tmp_path / "taxonomy.yaml").write_text(taxonomies.CATEGORY)
    return triage
