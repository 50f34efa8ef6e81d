import pytest
from PIL import Image


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of two classes with so many images each."""

    def make(count):
        for name in ("ant", "bee"):
            (tmp_path / "x" / name).mkdir(parents=True)
            for i in range(count):
                Image.new("RGB", (8, 8), (i, 0, 0)).save(tmp_path / "x" / name / f"{i}.png")
        return tmp_path / "x"

    return make
