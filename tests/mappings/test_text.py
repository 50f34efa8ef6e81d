import pytest
import torch

from lightning_transfer.mappings import FixedTextMapping, TextMapping


def built(mapping, source=6, classes=2):
    mapping.build(source, classes, None, None)
    return mapping


def test_fixed_takes_the_same_template_of_each_class():
    logits = torch.arange(12.0).view(2, 6)
    assert built(FixedTextMapping())(logits).tolist() == [[0, 3], [6, 9]]
    assert built(FixedTextMapping(2))(logits).tolist() == [[2, 5], [8, 11]]
    assert not built(FixedTextMapping()).needs_data()


def test_each_class_takes_the_text_of_its_own_that_its_images_are_taken_for():
    mapping = built(TextMapping(template=1))
    assert mapping.needs_data()
    # images of class 0 are taken for texts 2, 2, 0 and thrice for 4, of another class; those of class 1 for none of its own
    best = torch.tensor([2, 2, 0, 4, 4, 4, 0, 1])
    target = torch.tensor([0, 0, 0, 0, 0, 0, 1, 1])
    mapping.observe(torch.nn.functional.one_hot(best, 6).float(), target)
    mapping.refit()
    assert mapping.chosen.tolist() == [2, 1]
    assert not mapping.needs_data()
    mapping.observe(
        torch.nn.functional.one_hot(torch.tensor([1, 5, 3, 5, 3]), 6).float(), torch.tensor([0, 1, 1, 1, 1])
    )
    mapping.refit()
    assert mapping.chosen.tolist() == [1, 0]  # of equals the first
    mapping.refit()
    assert mapping.chosen.tolist() == [1, 0]


def test_once_keeps_the_choice_at_the_start():
    mapping = built(TextMapping(once=True))
    for text in (2, 1):
        mapping.observe(torch.nn.functional.one_hot(torch.tensor([text]), 6).float(), torch.tensor([0]))
        mapping.refit()
    assert mapping.chosen.tolist() == [2, 0]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TextMapping(-1), "template=-1 of TextMapping must be at least 0"),
        (lambda: built(FixedTextMapping(3)), "template=3 of FixedTextMapping: the source has 3, counted from 0"),
        (lambda: built(TextMapping(), 7), "wants as many texts for each of num_classes=2, but the source has 7"),
        (lambda: built(TextMapping(), 1), "wants as many texts for each of num_classes=2, but the source has 1"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()
