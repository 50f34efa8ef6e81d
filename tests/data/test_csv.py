import pytest
from PIL import Image

from lightning_transfer.data import CsvData


@pytest.fixture
def write(tmp_path):
    for i in range(4):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{i}.png")

    def write(text, encoding="utf-8"):
        (tmp_path / "list.csv").write_text(text, encoding=encoding)
        return str(tmp_path / "list.csv")

    return write


def test_reads_quoted_fields_a_byte_order_mark_and_blank_lines(write):
    data = CsvData(write('path,label\n\n0.png,"a, ""b"""\n , \n1.png,c\n\n', "utf-8-sig"))
    assert data.class_names == ['a, "b"', "c"]
    assert data.sources()["train"].targets.tolist() == [0, 1]


def test_the_split_column_is_used_where_it_is(write):
    data = CsvData(write("path,label,split\n0.png,a,train\n1.png,b,train\n2.png,a,valid\n3.png,b,test\n"))
    assert {name: len(source) for name, source in data.splits().items()} == {"train": 2, "val": 1, "test": 1}


def test_paths_and_columns_can_be_elsewhere(write, tmp_path):
    path = write("file,kind\n0.png,a\n1.png,b\n")
    (tmp_path / "lists").mkdir()
    moved = (tmp_path / "list.csv").rename(tmp_path / "lists" / "list.csv")
    data = CsvData(str(moved), root=str(tmp_path), path_column="file", label_column="kind")
    assert data.sources()["train"].names == [str(tmp_path / "0.png"), str(tmp_path / "1.png")]
    with pytest.raises(FileNotFoundError, match="is no file"):
        CsvData(path).sources()


def test_several_labels_are_balanced_and_few(write):
    rows = "".join(f"{i % 4}.png,{'a|b' if i % 2 else 'a'}\n" for i in range(40))
    data = CsvData(write("path,label\n" + rows), separator="|", labels_per_class=3)
    assert data.class_counts.min() >= 3
    test = data.splits()["test"].targets
    assert test.sum(0).tolist() == [8, 4]


def test_a_group_stays_on_one_side_of_the_splits(write):
    rows = "".join(f"{i % 4}.png,{'ab'[i % 2]},{'ab'[i % 2]}{i // 4}\n" for i in range(40))
    data = CsvData(write("path,label,patient\n" + rows), group_column="patient")
    groups = {name: set(source.groups) for name, source in data.splits().items()}
    assert not groups["train"] & groups["test"]
    assert not groups["train"] & groups["val"]
    assert len(data.splits()["test"]) == 8
    with pytest.raises(ValueError, match=r"no column 'scene', but .*; set data\.group_column"):
        CsvData(write("path,label\n0.png,a\n"), group_column="scene").sources()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("path,label\n0.png\n", "0.png has no label in column 'label'"),
        ("path,label\n", "lists no images"),
        ("label\na\n", r"no column 'path', but \['label'\]; set data.path_column"),
    ],
)
def test_complaints(write, text, message):
    with pytest.raises(ValueError, match=message):
        CsvData(write(text)).sources()


def test_another_encoding_gets_a_sentence(write):
    with pytest.raises(ValueError, match="is not encoded as UTF-8"):
        CsvData(write("path,label\n0.png,Käfer\n", "latin-1")).sources()
