"""The shape of the house: who may import whom, what a process loads, and that documents say what the code does."""

import ast
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from celery import Celery
from typer.main import get_command

from service.cli import commands
from service.queue import TaskName
from service.settings import DEMO_LLMS, PREFIX, Settings
from workers.tasks import register

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("models", "service", "workers", "migrations", "benchmarks")
SOURCES = sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py"))
NUMBERS = ("sklearn", "skops", "scipy", "numpy", "torch")
HEAVY = ("workers", "xllamacpp", "celery.worker", *NUMBERS)


def test_import_contracts():
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert re.search(r"Contracts: \d+ kept, 0 broken", done.stdout)


@pytest.mark.parametrize("start", ["import service.app", "from service.cli import commands; commands.application()"])
def test_an_api_process_loads_no_engine(start):
    code = f"{start}\nimport sys\nprint(*[m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_worker_loads_what_computes_a_linear_llm_with_the_first_one_only():
    code = f"import workers.app, workers.runtime\nimport sys\nprint(*[m for m in {NUMBERS!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_every_task_name_has_a_task():
    app = Celery(set_as_current=False)
    register(app, None)
    assert set(TaskName) <= set(app.tasks)


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def short(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_file_says_what_it_is_and_stays_small():
    sources = [path for path in SOURCES if "versions" not in path.parts]  # a migration is as long as its tables
    lines = {short(path): len(path.read_text().splitlines()) for path in sources}
    assert {name: count for name, count in lines.items() if count > 300} == {}, "it wants a second noun"
    silent = [short(path) for path in sources if tree(path).body and not ast.get_docstring(tree(path))]
    assert silent == [], "a module opens with what it is"


def imports_inside(path: Path) -> list[int]:
    """The lines of imports within functions."""
    nodes = [node for node in tree(path).body if not isinstance(node, ast.Import | ast.ImportFrom)]
    found = [
        node for top in nodes for node in ast.walk(top) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    return [n.lineno for f in found for n in ast.walk(f) if isinstance(n, ast.Import | ast.ImportFrom)]


def test_no_error_is_swallowed():
    handlers = [
        (path, node) for path in SOURCES for node in ast.walk(tree(path)) if isinstance(node, ast.ExceptHandler)
    ]
    assert [f"{short(path)}:{node.lineno}" for path, node in handlers if node.type is None] == []


def test_imports_stand_on_top():
    sources = [path for path in SOURCES if "cli" not in path.parts]
    inside = [f"{short(path)}:{line}" for path in sources for line in imports_inside(path)]
    assert inside == [], "only the command line may import inside a function"


WALL_CLOCK = {"datetime.now", "datetime.utcnow", "datetime.today", "date.today", "time.time", "time.time_ns"}
# What Python's clock may be read for. Times in rows are Postgres's and compared there: two machines have two clocks.
ITS_USES = {
    "benchmarks/results.py": "when a benchmark was made",
    "benchmarks/tutorial.py": "what the tutorial does",
    "models/tables.py": "the order of new ids",
    "service/api/experiments.py": "times of triage.yaml",
    "service/cli/train.py": "when an llm was trained",
    "service/experiments/kept.py": "times of triage.yaml",
    "service/experiments/report.py": "when a report was made",
    "service/helpdesks/generic.py": "the time that a webhook's signature covers",
    "service/intake/ticket.py": "times of triage.yaml",
    "service/pages/session.py": "the end that a cookie carries",
    "workers/engines/openai_http.py": "the time in a Retry-After",
}


def reads_the_wall_clock(path: Path) -> bool:
    nodes = list(ast.walk(tree(path)))
    spelled = {ast.unparse(node) for node in nodes if isinstance(node, ast.Attribute)}
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.module == "time"]
    spelled |= {f"time.{alias.name}" for node in imports for alias in node.names}
    return any(text == clock or text.endswith(f".{clock}") for text in spelled for clock in WALL_CLOCK)


def test_pythons_clock_is_never_compared_with_a_stored_time():
    readers = {short(path) for path in SOURCES if reads_the_wall_clock(path)}
    assert readers == set(ITS_USES), "use now() in SQL, or say here what the clock is read for"


@pytest.mark.parametrize("name", ["triage.yaml", "taxonomy.yaml"])
def test_the_demo_starts_from_the_committed_configuration(name):
    assert (ROOT / name).read_bytes() == (DEMO_LLMS / name).read_bytes()


def test_the_readme_lists_every_setting_with_its_default():
    rows = re.findall(r"^\| `(TRIAGE_\w+)` \| (.*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    expected = {PREFIX + name.upper(): field.default for name, field in Settings.model_fields.items()}
    assert {name: text.strip("`") for name, text in rows} == {
        name: "" if default in (None, "") else str(default) for name, default in expected.items()
    }


def test_env_example_lists_every_setting():
    names = re.findall(r"^#? ?(TRIAGE_\w+)=", (ROOT / ".env.example").read_text(), re.MULTILINE)
    assert names == [PREFIX + name.upper() for name in Settings.model_fields]


@pytest.mark.parametrize("room", commands.ROOMS)
def test_a_command_is_found_in_its_room(room):
    assert set(get_command(commands.application([room])).commands) == set(commands.ROOMS[room])
    for command in commands.ROOMS[room]:
        assert commands.needed([command, "--help"]) == [room]


@pytest.mark.parametrize("words", [[], ["--help", "up"], ["nonsense"]])
def test_who_names_no_command_sees_all(words):
    assert commands.needed(words) == list(commands.ROOMS)


def test_a_worker_loads_neither_the_web_server_nor_the_schema_s_history():
    code = "from service.cli import commands as c; c.application(c.needed(['worker'])); import workers.app"
    code += "\nimport sys\nprint(*[m for m in ('fastapi', 'alembic', 'migrations') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_readme_names_every_command():
    text = (ROOT / "README.md").read_text()
    done = subprocess.run([sys.executable, "-m", "service.cli", "--help"], cwd=ROOT, capture_output=True, text=True)
    commands = re.findall(r"^│ (\w+) ", done.stdout, re.MULTILINE)
    assert len(commands) >= 12
    assert [name for name in commands if f"triage {name}" not in text] == []


def test_locks_name_no_index():
    for lock in ROOT.glob("requirements*.lock"):
        assert not re.search(r"https?://|--index|--find-links", lock.read_text()), lock.name
