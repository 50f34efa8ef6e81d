"""The prompts of two configurations against the papers' code, written down here once more, through ten steps of training."""

from functools import partial

import pytest
import torch
import yaml
from torch import nn
from torch.nn.functional import cross_entropy, pad
from torch.optim import SGD, Adam

from lightning_transfer.checkpoint import import_class
from lightning_transfer.configs_path import find_config

MEAN, STD = (torch.tensor(v).view(3, 1, 1) for v in ([0.48, 0.45, 0.41], [0.27, 0.26, 0.28]))


class Bahng(nn.Module):
    """Normalise, then add four strips around a centre of zeros."""

    def __init__(self, size, width):
        super().__init__()
        self.centre = size - 2 * width
        self.up = nn.Parameter(torch.randn(1, 3, width, size))
        self.down = nn.Parameter(torch.randn(1, 3, width, size))
        self.left = nn.Parameter(torch.randn(1, 3, size - 2 * width, width))
        self.right = nn.Parameter(torch.randn(1, 3, size - 2 * width, width))

    def picture(self):
        middle = torch.cat([self.left, torch.zeros(1, 3, self.centre, self.centre), self.right], dim=3)
        return torch.cat([self.up, middle, self.down], dim=2)

    def forward(self, image):
        return (image - MEAN) / STD + self.picture()


class Chen(nn.Module):
    """Pad with zeros, add the sigmoid of a program behind a mask, then normalise."""

    def __init__(self, size, out):
        super().__init__()
        self.pads = (int((out - size + 1) / 2), int((out - size) / 2))
        self.program = nn.Parameter(torch.zeros(3, out, out))
        self.mask = pad(torch.zeros(size, size), self.pads * 2, value=1)

    def picture(self):
        return self.program[None]

    def forward(self, image):
        prompted = pad(image, self.pads * 2) + torch.sigmoid(self.program) * self.mask
        return (prompted - MEAN) / STD


def configured(name):
    model = yaml.safe_load(find_config(f"prompt/{name}").read_text())["model"]["init_args"]
    optimizer = model["optim"]["optimizer"]
    prompt = model["prompt"]
    return (
        import_class(prompt["class_path"])(**prompt["init_args"]),
        partial(import_class(optimizer["class_path"]), **optimizer["init_args"]),
    )


@pytest.mark.parametrize(
    ("name", "size", "reference", "optimizer"),
    [
        ("bahng2022", 64, Bahng(64, 8), partial(SGD, lr=40.0, momentum=0.9)),
        ("ilm2023", 36, Chen(36, 64), partial(Adam, lr=0.01)),
    ],
)
def test_follows_the_papers_code(name, size, reference, optimizer):
    torch.manual_seed(0)
    prompt, make = configured(name)
    prompt.build(size, (MEAN, STD))
    ring = reference(torch.rand(1, 3, size, size)).new_ones(64, 64, dtype=torch.bool)
    inner = slice(8, -8) if name == "bahng2022" else slice(14, -14)
    ring[inner, inner] = False
    with torch.no_grad():
        prompt.values.copy_(reference.picture()[0, :, ring])
    network = nn.Sequential(nn.Conv2d(3, 8, 7, 4), nn.GELU(), nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 5))
    network.requires_grad_(False)
    ours, theirs = make(prompt.parameters()), optimizer(reference.parameters())
    target = torch.arange(6) % 5
    losses = []
    for step in range(10):
        image = torch.rand(6, 3, size, size, generator=torch.Generator().manual_seed(step))
        seen, expected = (prompt(image) - MEAN) / STD, reference(image)
        torch.testing.assert_close(seen, expected, rtol=1e-4, atol=1e-4)
        for optim, shown in ((ours, seen), (theirs, expected)):
            optim.zero_grad()
            loss = cross_entropy(network(shown), target)
            loss.backward()
            optim.step()
        losses.append(loss.item())
    torch.testing.assert_close(prompt.values, reference.picture()[0, :, ring], rtol=1e-3, atol=1e-3)
    assert losses[-1] < losses[0]
