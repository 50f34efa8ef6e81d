import pytest

from lightning_transfer.data import ReviewsData


def test_reads_the_folder_as_its_script_makes_it(tmp_path):
    for split in ("train", "val", "test"):
        (tmp_path / f"{split}.csv").write_text(f'text,label\n"A {split}, at last.",1\nNo.,0\n')
    data = ReviewsData(str(tmp_path))
    assert (data.class_names, data.inputs, data.task) == (["negative", "positive"], ["text"], "classification")
    rows = data.splits()["val"]
    assert (rows.fields[0], rows.target.tolist()) == ({"text": "A val, at last."}, [1, 0])
    assert rows.name == [f"{tmp_path}/val.csv/1", f"{tmp_path}/val.csv/2"]


def test_names_the_script_that_makes_the_folder():
    with pytest.raises(FileNotFoundError, match=r"scripts/data/reviews\.py. makes it, or set data\.root"):
        ReviewsData("gone").splits()


def test_reads_the_reviews_themselves(data_root):
    data = ReviewsData(labels_per_class=16, test_rows=500)
    assert {name: len(rows.fields) for name, rows in data.splits().items()} == {"train": 32, "val": 1007, "test": 500}
    assert data.class_counts.tolist() == [16, 16]
