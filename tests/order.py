"""Which tests run when and beside which, so that no core rests and nothing big is started more often than needed.

Hooks of pytest and xdist, for conftest.
"""

from pathlib import Path

import pytest
from xdist.scheduler import LoadScopeScheduling

# What starts whole programs takes longest, the longest first: at the end only short files are left.
FIRST = ("benchmarks", "browser", "walk", "ollama", "cli", "openai", "engines", "linear")
# What mostly waits for processes to end or to be back.
WAITING = ("chaos", "faults", "embedded")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files keep their order within a folder; one that waits and one that computes take turns."""
    rank = {name: number for number, name in enumerate((*WAITING, *FIRST))}
    items.sort(key=lambda item: rank.get(item.path.parent.name, len(rank)))
    files = list(dict.fromkeys(item.path for item in items))
    turn = {path: number for waits in (True, False) for number, path in enumerate(_files(files, waits=waits))}
    items.sort(key=lambda item: turn[item.path])


def _files(files: list[Path], *, waits: bool) -> list[Path]:
    return [path for path in files if (path.parent.name in WAITING) == waits]


class Sharing(LoadScopeScheduling):  # type: ignore[misc]  # xdist's base has no types
    """A file's tests run in one process; and files that share a `triage up` do so too."""

    def _split_scope(self, nodeid: str) -> str:
        file = Path(nodeid.partition("::")[0])
        if file.parent.name == "faults":
            return f"faults {file.name < 'test_g'}"  # two halves, which take about as long
        return str(file)


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Sharing:
    """Whatever `--dist` says."""
    return Sharing(config, log)
