from pathlib import Path

import pytest

from lightning_transfer.templates import list_names, read_templates, sentences


@pytest.mark.parametrize("name", [name for name in list_names() if name not in ("sst2", "snli")])
def test_every_list_of_images_that_the_package_brings_can_be_read(name):
    assert read_templates(name)


def test_a_list_a_file_one_template_or_several():
    assert len(read_templates("seven")) == 7
    Path("mine.txt").write_text("# remarks\na {}\n\nthe {}\n")
    assert read_templates("mine.txt") == ["a {}", "the {}"]
    assert read_templates("a {} of mine") == ["a {} of mine"]
    assert read_templates(["{}", "a {}"]) == ["{}", "a {}"]
    assert sentences(["{}x"], ["a {}"]) == ["a {}x"]


@pytest.mark.parametrize(
    ("templates", "message"),
    [
        ([], r"templates=\[\] holds no template"),
        (["a photo"], "'a photo' must hold {} once"),
        (["{} and {}"], "'{} and {}' must hold {} once"),
        (["a {}", "a {}"], "'a {}' is given twice"),
        ("imagnet", "templates='imagnet' names no list; there are .*imagenet"),
        ("mine.txt", "templates='mine.txt' names no list"),
    ],
)
def test_refuses(templates, message):
    with pytest.raises(ValueError, match=message):
        read_templates(templates)
