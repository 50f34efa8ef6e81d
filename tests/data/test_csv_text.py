import pytest

from lightning_transfer.data import CsvTextData


@pytest.fixture
def write(tmp_path):
    def write(text, name="rows.csv"):
        (tmp_path / name).write_text(text)
        return str(tmp_path / name)

    return write


def test_fields_are_named_by_columns_and_further_ones_are_no_inputs(write):
    path = write("Review,why,stars\nGood.,it is,2\nBad.,it is not,1\n")
    data = CsvTextData(path, inputs={"text": "Review"}, label_column="stars", further_columns=["why"])
    rows = data.sources()["train"]
    assert rows.fields == [{"text": "Good.", "why": "it is"}, {"text": "Bad.", "why": "it is not"}]
    assert (data.inputs, data.class_names, rows.target.tolist()) == (["text"], ["1", "2"], [1, 0])


def test_labels_are_sorted_as_numbers_where_they_are(write):
    path = write("text,label\na,10\nb,9\nc,none\n")
    assert CsvTextData(path).class_names == ["9", "10", "none"]


@pytest.mark.parametrize(
    ("labels", "class_names", "names", "targets"),
    [
        ("0110", ["bad", "good"], ["bad", "good"], [0, 1, 1, 0]),
        (["good", "bad"], ["bad", "good"], ["bad", "good"], [1, 0]),
        ("pnn", {"p": "positive", "n": "negative"}, ["positive", "negative"], [0, 1, 1]),
        ("1235", {"1": "bad", "2": "bad", "3": "so so", "5": "good"}, ["bad", "so so", "good"], [0, 0, 1, 2]),
    ],
)
def test_names_number_the_labels(write, labels, class_names, names, targets):
    path = write("text,label\n" + "".join(f"text {i},{label}\n" for i, label in enumerate(labels)))
    data = CsvTextData(path, class_names=class_names)
    assert (data.class_names, data.num_classes) == (names, len(names))
    assert data.sources()["train"].target.tolist() == targets


def test_free_answers_have_no_classes(write):
    path = write("question,answer\n1 + 1?,2\n1 + 2?,3\n" + "".join(f"{i}?,{i}\n" for i in range(18)))
    data = CsvTextData(path, inputs=["question"], answer_column="answer")
    assert (data.task, data.class_names) == ("generation", [])
    rows = data.sources()["train"]
    assert (rows.answer[:2], rows.target[:2].tolist()) == (["2", "3"], [-1, -1])
    assert {name: len(rows.answer) for name, rows in data.splits().items()} == {"train": 14, "val": 2, "test": 4}
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert list(batch.answer) == [data.splits()["train"].answer[i] for i in batch.indices]
    with pytest.raises(ValueError, match="labels_per_class=1, but free answers have no classes; use fraction"):
        CsvTextData(path, inputs=["question"], answer_column="answer", labels_per_class=1).splits()


def test_says_file_and_row_of_what_is_wrong(write):
    good = write("text,label\na,x\nb,y\n")
    for text, said in (
        ("text,label\na,x\n ,y\n", r"test\.csv, row 2: column 'text' is empty; write something"),
        ("text,label\na,x\nb,z\n", r"test\.csv, row 2: label 'z' in column 'label' is none of x, y"),
        ("text,label\na,\n", r"test\.csv, row 1: column 'label' is empty"),
        ("said,label\na,x\n", r"test\.csv has no column 'text', but \['said', 'label'\]; set data\.inputs"),
        ("text,kind\na,x\n", r"has no column 'label', but \['text', 'kind'\]; set data\.label_column"),
    ):
        with pytest.raises(ValueError, match=said):
            CsvTextData(good, test=write(text, "test.csv")).sources()
    with pytest.raises(FileNotFoundError, match=r"data\.val='gone\.csv' is no file"):
        CsvTextData(good, val="gone.csv").sources()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"inputs": []}, r"inputs=\[\] names no field"),
        ({"inputs": ["label"]}, "no field can be called 'label'"),
        ({"inputs": ["my text"]}, r"no field can be called 'my text', .*; name it: \{'text': 'my text'\}"),
        ({"further_columns": ["text"]}, "the field 'text' is one of inputs already"),
        ({"class_names": ["a", "a"]}, "gives a name twice"),
        ({"class_names": ["a"]}, "at least two classes"),
        ({"class_names": ["a", "b"], "answer_column": "x"}, "holds free answers; give one"),
    ],
)
def test_refuses_names_that_cannot_be(options, said):
    with pytest.raises(ValueError, match=said):
        CsvTextData("rows.csv", **options)
