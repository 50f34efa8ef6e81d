from pathlib import Path

import pytest

from lightning_transfer.data.text_table import read_table


@pytest.fixture
def read(tmp_path):
    def read(text, ending="csv", only=(), encoding="utf-8"):
        path = tmp_path / f"table.{ending}"
        path.write_text(text, encoding=encoding)
        return read_table(path, "train", only)

    return read


def test_the_ending_says_how_cells_stand(read):
    rows = [{"text": 'He said "no', "label": "1"}, {"text": "yes, yes", "label": "0"}]
    assert read('text,label\n"He said ""no",1\n\n"yes, yes",0\n', encoding="utf-8-sig").rows == rows
    assert read('text\tlabel\nHe said "no\t1\nyes, yes\t0\n', "tsv").rows == rows
    table = read('{"text": "He said \\"no", "label": 1}\n\n{"text": "yes, yes", "label": 0}\n', "jsonl")
    assert table.rows == rows
    assert table.columns == ["text", "label"]


def test_keeps_what_is_wanted_and_knows_all_columns(read):
    for table in (read("a,b\n1,2\n", only=["b"]), read('{"a": [1], "b": 2}', "jsonl", only=["b"])):
        assert table.rows == [{"b": "2"}]
        assert table.columns == ["a", "b"]


def test_a_key_that_an_object_lacks_is_an_empty_cell(read):
    table = read('{"a": "1"}\n{"a": "2", "b": null}\n{"b": "3"}\n', "jsonl")
    assert table.rows == [{"a": "1", "b": ""}, {"a": "2", "b": ""}, {"a": "", "b": "3"}]
    with pytest.raises(ValueError, match=r"table\.jsonl, row 3: column 'a' is empty"):
        table.cells("a")


def test_chosen_rows_keep_their_numbers(read):
    table = read("text,label\na,x\nb,-\nc,y\n").where("label", "x", "y")
    assert [name.rpartition("/")[2] for name in table.names()] == ["1", "3"]
    assert table.labels("label", {"x": 0, "y": 1}).tolist() == [0, 1]
    with pytest.raises(ValueError, match="row 3: label 'y' in column 'label' is none of x"):
        table.labels("label", {"x": 0})


@pytest.mark.parametrize(
    ("text", "ending", "said"),
    [
        ("a,b\n", "csv", "has no rows"),
        ("a\nb\n", "txt", r"must end in \.csv, \.tsv or \.jsonl"),
        ("text,label\na,b,1\n", "csv", "line 2: more cells than the header's 2; a comma within"),
        ('{"a": 1}\n{"a": \n', "jsonl", "line 2: .*; each line is one JSON object"),
        ("[1]\n", "jsonl", r"line 1: '\[1\]' is no JSON object"),
    ],
)
def test_says_what_is_wrong_with_a_file(read, text, ending, said):
    with pytest.raises(ValueError, match=said):
        read(text, ending)


def test_says_that_a_file_is_missing_or_in_another_encoding(read):
    with pytest.raises(FileNotFoundError, match=r"data\.train='gone\.csv' is no file"):
        read_table(Path("gone.csv"), "train")
    with pytest.raises(ValueError, match="is not encoded as UTF-8"):
        read("text\né\n", encoding="latin-1")
