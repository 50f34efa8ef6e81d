from pathlib import Path

from lightning_transfer.merging.show import draw_curves, print_table

ROWS = [{"alpha": 0.0, "val/accuracy": 0.25}, {"alpha": 1.0, "val/accuracy": 0.5}]


def test_prints_a_table_and_draws_curves(capsys):
    print_table(ROWS, "title")
    assert "0.2500" in capsys.readouterr().out
    draw_curves(ROWS, "alpha", 1.0, Path("x.png"))
    from PIL import Image

    pixels = Image.open("x.png").convert("RGB")
    assert pixels.size == (900, 600)
    assert len(pixels.getcolors(2**20)) > 10
