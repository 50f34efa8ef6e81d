import pytest
import torch

from lightning_transfer.data import WholeTransform
from lightning_transfer.data.spec_augment import SpecAugment, moved

IMAGE = torch.full((3, 64, 101), 200, dtype=torch.uint8)


def test_the_whole_is_seen():
    image = torch.zeros(3, 4, 8, dtype=torch.uint8)
    image[..., 4:] = 100
    found = WholeTransform(4)(image)
    assert found.shape == (3, 4, 4)
    assert (found[..., 0] < found[..., 3]).all()


def test_moves_either_way_with_silence_behind():
    image = torch.arange(1, 6)[None, None]
    assert moved(image, 2).flatten().tolist() == [0, 0, 1, 2, 3]
    assert moved(image, -1).flatten().tolist() == [2, 3, 4, 5, 0]
    assert torch.equal(moved(image, 0), image)


def test_without_shares_it_is_the_whole():
    assert torch.equal(SpecAugment(32, shift=0, time=0, pitch=0)(IMAGE), WholeTransform(32)(IMAGE))


@pytest.mark.parametrize("which", ["time", "pitch"])
def test_masks_reach_every_place_up_to_their_share(which):
    transform = SpecAugment(40, **{"shift": 0, "time": 0, "pitch": 0, which: 0.25})
    widths, hit = set(), torch.zeros(40, dtype=torch.bool)
    for _ in range(400):
        silent = (transform(IMAGE)[0] == 0).all(dim=0 if which == "time" else 1)
        widths.add(int(silent.sum()))
        hit |= silent
        where = torch.nonzero(silent).flatten()
        assert len(where) == 0 or where[-1] - where[0] + 1 == len(where)
    assert widths == set(range(11))
    assert hit.all()


def test_draws_by_torchs_generator_and_leaves_its_input():
    transform, before = SpecAugment(32), IMAGE.clone()
    seen = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        seen.append(transform(IMAGE))
    assert torch.equal(seen[0], seen[1])
    assert not torch.equal(seen[0], seen[2])
    assert torch.equal(IMAGE, before)


def test_values_out_of_range_get_a_sentence():
    with pytest.raises(ValueError, match="pitch=1 of SpecAugment is a share"):
        SpecAugment(8, pitch=1)
