"""Files that appear whole or not at all."""

import mmap
from pathlib import Path

import pytest

from models.whole import whole


def test_a_mapped_file_keeps_its_bytes_when_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"old" * 5_000)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        with whole(path) as part:
            part.write_bytes(b"new")
            assert path.read_bytes() == b"old" * 5_000
        assert path.read_bytes() == b"new"
        assert bytes(mapped) == b"old" * 5_000
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_alone_and_nothing_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "x.gguf"
    path.write_bytes(b"old")

    def fail_half_way() -> None:
        with whole(path) as part:
            part.write_bytes(b"ne")
            raise RuntimeError("half")

    with pytest.raises(RuntimeError, match="half"):
        fail_half_way()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_temporary_file_lies_in_the_same_folder(tmp_path: Path) -> None:
    """Only within one file system is a replacement atomic."""
    with whole(tmp_path / "x.gguf") as part:
        assert part.parent == tmp_path
        part.write_bytes(b"")
