from pathlib import Path

import pytest

from lightning_transfer.files import whole, write_csv


def test_writes_a_whole_file_and_its_folder():
    with whole(Path("new/x.txt")) as partial:
        partial.write_text("all")
        assert not Path("new/x.txt").exists()
    assert [path.read_text() for path in Path("new").iterdir()] == ["all"]


def test_a_failure_leaves_what_was_there():
    def write_half():
        with whole(Path("x.txt")) as partial:
            partial.write_text("half")
            raise OSError("disk full")

    Path("x.txt").write_text("old")
    with pytest.raises(OSError, match="disk full"):
        write_half()
    assert [path.name for path in Path().iterdir()] == ["x.txt"]
    assert Path("x.txt").read_text() == "old"


def test_writes_one_line_a_row():
    write_csv([{"alpha": 0.0, "val/accuracy": 0.25}, {"alpha": 1.0, "val/accuracy": 0.5}], Path("x.csv"))
    assert Path("x.csv").read_text().split() == ["alpha,val/accuracy", "0.0,0.25", "1.0,0.5"]
