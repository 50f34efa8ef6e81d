from pathlib import Path

import pytest

from lightning_transfer.merging.files import whole, write_csv
from lightning_transfer.merging.show import draw_curves, print_table

ROWS = [{"alpha": 0.0, "val/accuracy": 0.25}, {"alpha": 1.0, "val/accuracy": 0.5}]


def test_a_file_is_there_whole_or_not_at_all():
    path = Path("new/x.txt")
    with pytest.raises(AttributeError), whole(path) as partial:
        partial.write_text("hal").stop_halfway()
    assert not list(path.parent.iterdir())
    with whole(path) as partial:
        partial.write_text("all")
        assert not path.exists()
    assert [file.read_text() for file in path.parent.iterdir()] == ["all"]


def test_writes_rows_a_table_and_curves(capsys):
    write_csv(ROWS, Path("x.csv"))
    assert Path("x.csv").read_text().split() == ["alpha,val/accuracy", "0.0,0.25", "1.0,0.5"]
    print_table(ROWS, "title")
    assert "0.2500" in capsys.readouterr().out
    draw_curves(ROWS, "alpha", 1.0, Path("x.png"))
    from PIL import Image

    pixels = Image.open("x.png").convert("RGB")
    assert pixels.size == (900, 600)
    assert len(pixels.getcolors(2**20)) > 10
