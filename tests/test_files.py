from pathlib import Path

import pytest

from lightning_transfer.files import write_whole


def test_writes_a_whole_file():
    write_whole(Path("x.txt"), lambda path: path.write_text("new"))
    assert [path.name for path in Path().iterdir()] == ["x.txt"]
    assert Path("x.txt").read_text() == "new"


def test_a_failure_leaves_what_was_there():
    Path("x.txt").write_text("old")

    def fill(path):
        path.write_text("half")
        assert Path("x.txt").read_text() == "old"
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        write_whole(Path("x.txt"), fill)
    assert [path.name for path in Path().iterdir()] == ["x.txt"]
    assert Path("x.txt").read_text() == "old"
