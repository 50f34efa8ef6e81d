import pytest
import torch

from lightning_transfer.data.splits import few_labels, few_rows, stratified_split

TARGETS = torch.tensor([0] * 50 + [1] * 30 + [2] * 20)


def test_split_is_stratified_seeded_and_complete():
    keep, out = stratified_split(TARGETS, 0.2, seed=1)
    assert torch.bincount(TARGETS[out]).tolist() == [10, 6, 4]
    assert sorted(keep.tolist() + out.tolist()) == list(range(100))
    assert torch.equal(out, stratified_split(TARGETS, 0.2, seed=1)[1])
    assert not torch.equal(out, stratified_split(TARGETS, 0.2, seed=2)[1])


def test_groups_stay_on_one_side():
    groups = [str(i // 3) for i in range(100)]
    keep, out = stratified_split(TARGETS, 0.3, seed=0, groups=groups)
    assert not {groups[i] for i in keep} & {groups[i] for i in out}
    assert 25 <= len(out) <= 35


def test_few_labels_are_nested_and_exact():
    five, ten = (few_labels(TARGETS, n, 3, "abc") for n in (5, 10))
    assert torch.bincount(TARGETS[ten]).tolist() == [10, 10, 10]
    assert set(five.tolist()) < set(ten.tolist())


def test_few_labels_names_the_class_that_has_too_few():
    with pytest.raises(ValueError, match=r"labels_per_class=25, but class 'c' has 20 .*at most 20"):
        few_labels(TARGETS, 25, 0, "abc")


def test_few_labels_reach_every_class_of_several():
    targets = (torch.rand(60, 4, generator=torch.Generator().manual_seed(0)) < 0.4).float()
    assert targets[few_labels(targets, 3, 0, "abcd")].sum(0).min() >= 3


def test_a_class_of_one_stays_for_training():
    keep, out = stratified_split(torch.tensor([0, 1, 1, 1, 1]), 0.5, seed=0)
    assert 0 in keep.tolist()
    assert len(out) == 2


def test_one_large_group_does_not_distort_the_other_classes():
    targets = torch.tensor([0] * 100 + [1] * 50)
    groups = ["same"] * 100 + [str(i) for i in range(50)]
    _, out = stratified_split(targets, 0.2, seed=0, groups=groups)
    assert torch.bincount(targets[out], minlength=2).tolist() == [0, 10]


def test_images_of_several_labels_are_split_by_their_rarest():
    targets = torch.zeros(100, 3)
    targets[:, 0] = 1
    targets[:20, 1] = 1
    targets[20:30, 2] = 1
    _, out = stratified_split(targets, 0.2, seed=0)
    assert targets[out].sum(0).tolist() == [20, 4, 2]


def test_few_rows_are_exact_nested_and_shared_as_the_whole():
    targets = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    five, ten, fifty = (few_rows(targets, n, 3) for n in (5, 10, 50))
    assert {*five.tolist()} < {*ten.tolist()} < {*fifty.tolist()}
    assert torch.bincount(targets[ten]).tolist() == [6, 3, 1]
    assert torch.bincount(targets[fifty]).tolist() == [30, 15, 5]
    assert few_rows(targets, 100, 3).tolist() == list(range(100))
    assert few_rows(targets, 10, 4).tolist() != ten.tolist()
