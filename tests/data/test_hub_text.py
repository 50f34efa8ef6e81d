import builtins
import sys
from types import SimpleNamespace

import pytest

from lightning_transfer.data import HubTextData


class Split:
    """Rows as the package `datasets` gives them."""

    def __init__(self, rows, names=None):
        self.rows, self.column_names = rows, list(rows[0])
        self.features = {column: SimpleNamespace() for column in self.column_names}
        if names:
            self.features["label"] = SimpleNamespace(names=names)

    def __iter__(self):
        return iter(self.rows)


@pytest.fixture
def hub(monkeypatch):
    """Puts splits on the hub."""

    def put(**splits):
        asked = []
        load = lambda dataset, name: asked.append((dataset, name)) or splits  # noqa: E731
        monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load))
        return asked

    return put


def rows(count, label=lambda i: i % 2):
    return [{"sentence": f"Text {i}", "label": label(i), "idx": i} for i in range(count)]


def test_brings_splits_and_names_of_the_hub(hub):
    names = ["bad", "good"]
    asked = hub(train=Split(rows(8), names), validation=Split(rows(4), names), test=Split(rows(6), names))
    data = HubTextData("made/texts", "fine", inputs={"text": "sentence"})
    assert data.class_names == names
    found = data.splits()
    assert {name: len(split.fields) for name, split in found.items()} == {"train": 8, "val": 4, "test": 6}
    assert (found["val"].fields[1], found["val"].target.tolist()) == ({"text": "Text 1"}, [0, 1, 0, 1])
    assert found["val"].name[0] == "made/texts/validation/1"
    assert set(asked) == {("made/texts", "fine")}


def test_names_that_are_given_stand_before_those_of_the_hub(hub):
    hub(train=Split(rows(40), ["bad", "good"]))
    data = HubTextData("x", inputs=["sentence"], class_names=["awful", "great"], val_split=None, test_split=None)
    assert data.class_names == ["awful", "great"]
    assert {name: len(split.fields) for name, split in data.splits().items()} == {"train": 29, "test": 8, "val": 3}


def test_labels_without_names_are_their_own(hub):
    hub(train=Split(rows(9, lambda i: "xyz"[i % 3])))
    assert HubTextData("x", inputs=["sentence"], val_split=None, test_split=None).class_names == ["x", "y", "z"]


def test_free_answers(hub):
    hub(train=Split([{"question": "1 + 1?", "answer": 2}]))
    data = HubTextData("x", inputs=["question"], answer_column="answer", val_split=None, test_split=None)
    assert data.sources()["train"].answer == ["2"]


def test_says_which_splits_there_are_and_which_has_no_labels(hub):
    names = ["bad", "good"]
    hub(train=Split(rows(8), names), test=Split(rows(6, lambda i: -1), names))
    with pytest.raises(ValueError, match=r"x has no split 'validation', but \['train', 'test'\]; set data\.val_split"):
        HubTextData("x", inputs=["sentence"]).splits()
    with pytest.raises(ValueError, match=r"x/test keeps its labels secret; .*data\.test_split=null"):
        HubTextData("x", inputs=["sentence"], val_split=None).splits()


def test_says_how_to_get_the_package(monkeypatch):
    found = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "datasets":
            raise ModuleNotFoundError(name)
        return found(name, *args, **kwargs)

    monkeypatch.delitem(sys.modules, "datasets", raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "lightning_transfer\[datasets\]"'):
        HubTextData("x").prepare_data()
