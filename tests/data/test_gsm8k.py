import json

import pytest

from lightning_transfer.data import Gsm8kData


@pytest.fixture
def write(tmp_path):
    def write(*solutions, split="train"):
        rows = [{"question": f"How many,  {i}?", "answer": solution} for i, solution in enumerate(solutions)]
        (tmp_path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        return tmp_path

    return write


def test_takes_reasoning_and_number_apart(write):
    root = write("He has 5+6=<<5+6=11>>11 balls\nThat makes 11*100=<<11*100=1100>>1,100 cents.\n#### 1,100")
    write("So 3.\n#### 3", "Minus it is.\n#### -2", split="test")
    data = Gsm8kData(str(root), val_fraction=0)
    rows = data.splits()["train"]
    assert rows.fields == [
        {"question": "How many,  0?", "reasoning": "He has 5+6=11 balls. That makes 11*100=1,100 cents."}
    ]
    assert (rows.answer, rows.target.tolist(), rows.name) == (["1100"], [-1], [f"{root}/train.jsonl/1"])
    assert data.splits()["test"].answer == ["3", "-2"]
    assert (data.task, data.class_names, data.inputs) == ("generation", [], ["question"])


def test_validation_comes_from_training(write):
    write(*[f"It is {i}.\n#### {i}" for i in range(20)], split="test")
    data = Gsm8kData(str(write(*[f"It is {i}.\n#### {i}" for i in range(20)])))
    assert {name: len(rows.answer) for name, rows in data.splits().items()} == {"train": 18, "val": 2, "test": 20}


def test_says_what_is_missing(write):
    with pytest.raises(FileNotFoundError, match=r"train\.jsonl does not exist; get it from https://github\.com/openai"):
        Gsm8kData("gone").splits()
    root = write("So 3.\n#### 3", "So 4.")
    write("So 3.\n#### 3", split="test")
    with pytest.raises(ValueError, match=r"train\.jsonl, row 2: the answer ends in 'So 4\.', not in '#### NUMBER'"):
        Gsm8kData(str(root)).splits()
