"""Files that appear whole or not at all. Called by training and the commands that write files."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path in the folder of `path` that takes its place at the end, or goes if the block fails.

    Who has the old file open or mapped keeps the old bytes: writing over it would kill a process that has it mapped.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
