import pytest
import torch
from torch import nn

from lightning_transfer import hashes


def test_checksums_depend_on_every_bit_and_its_place():
    image = torch.rand(6, 3, 10, 9)
    image[1] = image[0]
    image[2] = image[0].flip(-1)
    image[3] = image[0].flip(0)
    image[4] = image[0]
    image[4, 2, 9, 8] = torch.nextafter(image[0, 2, 9, 8], torch.tensor(2.0))
    image[5] = image[0].transpose(-1, -2).reshape(3, 10, 9)
    sums = hashes.checksums(image).tolist()
    assert sums[0] == sums[1]
    assert len(set(sums)) == 5


def test_checksums_are_those_of_slow_arithmetic():
    rows = torch.randint(-(2**62), 2**62, (3, 300))
    words = nn.functional.pad(rows, (0, 20)).view(3, 5, 64)
    for row, found in zip(words.tolist(), hashes.checksums(rows).tolist(), strict=True):
        blocks = sum((i + 1) * sum(block) for i, block in enumerate(row))
        places = sum((i + 1) * sum(column) for i, column in enumerate(zip(*row, strict=True)))
        expected = (1 + blocks + 1_000_003 * places) % 2**64
        assert found % 2**64 == expected


@pytest.mark.parametrize("kind", [torch.float32, torch.bfloat16, torch.int64, torch.uint8])
def test_checksums_of_any_kind_do_not_depend_on_the_layout_or_the_neighbours(kind):
    rows = (100 * torch.rand(4, 3, 6, 8)).to(kind)
    sums = hashes.checksums(rows)
    assert torch.equal(sums, hashes.checksums(rows.to(memory_format=torch.channels_last)))
    assert torch.equal(sums[2:], hashes.checksums(rows[2:]))
    assert (hashes.checksums(torch.zeros_like(rows)) != 0).all()


def test_modules_are_told_apart_by_structure_and_buffers():
    def make(activation=nn.ReLU):
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2), activation())

    moved = make()
    moved(torch.rand(5, 2))
    found = [hashes.of_module(module) for module in (make(), make(), make(nn.GELU), moved)]
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_marks_tell_kind_shape_and_every_entry():
    base = torch.randn(3, 5)
    others = [base.double(), base.T, base.flatten(), torch.zeros(0)]
    for i in range(base.numel()):
        others.append(base.clone())
        others[-1].view(-1)[i] += 1e-6
    marks = {hashes.mark(tensor) for tensor in [base, *others]}
    assert len(marks) == 1 + len(others)
    assert hashes.mark(base.T.contiguous().T) == hashes.mark(base)  # the layout in memory is no part of it
    found = hashes.of_marks({"a": "1", "b": "2"})
    assert found == hashes.of_marks({"b": "2", "a": "1"})
    assert found != hashes.of_marks({"a": "2", "b": "1"})
