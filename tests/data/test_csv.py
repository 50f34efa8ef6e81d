import pytest
import torch
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


def test_numbers_are_targets_named_by_their_columns(write):
    data = CsvData(write("path,width,height\n0.png,1.5,-2\n1.png, 3 ,1e3\n"), target_columns=["height", "width"])
    assert data.task == "regression"
    assert data.class_names == ["height", "width"]
    assert data.sources()["train"].targets.tolist() == [[-2, 1.5], [1000, 3]]


def test_numbers_are_split_by_seed_and_group_alone(write):
    rows = "".join(f"{i % 4}.png,{i / 7},{i // 4}\n" for i in range(40))
    path = write("path,size,patient\n" + rows)

    def sizes(**options):
        data = CsvData(path, target_columns=["size"], **options)
        return {name: source.targets.flatten().tolist() for name, source in data.splits().items()}

    assert {name: len(found) for name, found in sizes().items()} == {"train": 29, "val": 3, "test": 8}
    assert sizes() == sizes()
    assert sizes() != sizes(split_seed=1)
    assert set(sizes(fraction=0.5)["train"]) < set(sizes()["train"])
    assert len(sizes(fraction=0.5)["train"]) == 14
    groups = CsvData(path, target_columns=["size"], group_column="patient").splits()
    assert not set(groups["train"].groups) & set(groups["test"].groups)
    data = CsvData(path, target_columns=["size"])
    mean, deviation = data.target_statistics
    found = torch.tensor(sizes()["train"])
    torch.testing.assert_close(
        torch.stack([mean[0], deviation[0]]), torch.stack([found.mean(), found.std(correction=0)])
    )
    assert data.summary().columns[2].header == "mean ± deviation"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target_columns": ["size"]}, r"list\.csv, row 2 \(1\.png\): 'big' in column 'size' is no number"),
        ({"target_columns": ["other"]}, "row 3 .*: '' in column 'other' is no number"),
        ({"target_columns": ["nan"]}, "row 1 .*: 'nan' in column 'nan' is no number"),
        ({"target_columns": ["depth"]}, r"no column 'depth', but \['path', .*; set data\.target_columns"),
        ({"target_columns": []}, r"target_columns=\[\] must name at least one"),
        ({"target_columns": ["size", "size"]}, "each once"),
        ({"target_columns": ["size"], "separator": "|"}, "separator='|' is for labels".replace("|", r"\|")),
        (
            {"target_columns": ["good"], "labels_per_class": 1, "val_fraction": 0, "test_fraction": 0},
            "labels_per_class=1, but numbers have no classes; use fraction",
        ),
    ],
)
def test_complaints_of_numbers(write, options, message):
    text = "path,size,other,nan,good\n0.png,1,1,nan,1\n\n1.png,big,2,1,1\n2.png,3,,1,1\n"
    with pytest.raises(ValueError, match=message):
        CsvData(write(text), **options).splits()


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
