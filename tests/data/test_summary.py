import torch

from lightning_transfer.data.sources import ArraySource
from lightning_transfer.data.summary import summarise


def source(targets):
    return ArraySource(torch.zeros(len(targets), 1, 4, 4, dtype=torch.uint8), targets, "made")


def cells(table):
    return [list(column.cells) for column in table.columns]


def test_few_classes_are_counted_one_by_one_and_many_give_the_range():
    splits = {"train": source(torch.tensor([0, 1, 1])), "val": source(torch.tensor([1]))}
    table = summarise("Pets", splits, ["cat", "dog"], "classification")
    assert table.title == "Pets: 2 classes"
    assert cells(table) == [["train", "val"], ["3", "1"], ["cat 1, dog 2", ""]]
    many = source(torch.arange(30).repeat_interleave(4 * torch.arange(1, 31)))
    table = summarise("Made", {"train": many}, [f"kind {k}" for k in range(30)], "classification")
    assert cells(table)[2] == ["4 to 120, median 60"]


def test_several_labels_count_for_each_class():
    table = summarise("Made", {"train": source(torch.tensor([[1.0, 1], [0, 1]]))}, ["a", "b"], "multi_label")
    assert cells(table)[2] == ["a 1, b 2"]


def test_numbers_have_mean_and_deviation():
    table = summarise("Made", {"train": source(torch.tensor([[1.0, 5], [3, 5]]))}, ["year", "share"], "regression")
    assert (table.title, table.columns[2].header) == ("Made: 2 targets", "mean ± deviation")
    assert cells(table)[2] == ["year 2 ± 1, share 5 ± 0"]
