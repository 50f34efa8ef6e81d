import itertools

import pytest
import torch
from torch.nn.functional import normalize

from lightning_transfer.metrics.retrieval import Retrieval

GROUPS = torch.tensor([3, 3, 8, 5, 5, 5, 1, 0, 9, 3])


def pairs(noise=0.8):
    text = torch.randn(10, 6)[GROUPS]
    return normalize(text + noise * torch.randn(10, 6)), normalize(text)


def slow(image, text, group, k):
    """Both ways by sorting; a caption counts once."""
    captions = {number: text[i] for i, number in reversed(list(enumerate(group.tolist())))}
    found = []
    for i, number in enumerate(group.tolist()):
        order = sorted(captions, key=lambda c: -(image[i] @ captions[c]).item())
        found.append(number in order[:k])
    back = []
    for number, vector in captions.items():
        order = sorted(range(len(image)), key=lambda i: -(image[i] @ vector).item())
        back.append(any(group[i] == number for i in order[:k]))
    return sum(found) / len(found), sum(back) / len(back)


@pytest.mark.parametrize("chunk", [1, 3, 100])
@pytest.mark.parametrize("cut", [(10,), (1, 4, 5)])
def test_equals_a_slow_loop_however_batches_are_cut(chunk, cut):
    image, text = pairs()
    metric = Retrieval(ks=[1, 2, 5, 50], chunk=chunk)
    for batch in zip(*(side.split(cut) for side in (image, text, GROUPS)), strict=True):
        metric.update(*batch)
    found = metric.compute()
    for k in (1, 2, 5, 50):
        expected = slow(image, text, GROUPS, k)
        assert (found[f"image_to_text_r{k}"].item(), found[f"text_to_image_r{k}"].item()) == pytest.approx(expected)
    assert found["image_to_text_r50"] == found["chance_r50"] == 1


def test_chance_is_what_drawing_by_lot_reaches():
    metric = Retrieval(ks=[2])
    group = torch.tensor([0, 0, 1, 2])
    metric.update(*[torch.eye(4)] * 2, group)
    drawn = [set(pair) for pair in itertools.combinations(range(4), 2)]
    back = sum(any(group[i] == c for i in pair) for c in range(3) for pair in drawn) / (3 * len(drawn))
    assert metric.compute()["chance_r2"].item() == pytest.approx((2 / 3 + back) / 2)


def test_vectors_that_are_all_alike_find_nothing_but_by_room():
    metric = Retrieval(ks=[1, 5])
    metric.update(*[torch.ones(5, 3) / 3**0.5] * 2, torch.arange(5))
    found = metric.compute()
    assert found["image_to_text_r1"] == found["text_to_image_r1"] == 0
    assert found["image_to_text_r5"] == 1


def test_refuses():
    with pytest.raises(ValueError, match=r"ks=\[0\] of Retrieval must name numbers from 1 on"):
        Retrieval(ks=[0])
    with pytest.raises(ValueError, match="chunk=0 of Retrieval"):
        Retrieval(chunk=0)
