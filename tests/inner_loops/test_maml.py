import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, linear

from lightning_transfer.backbones import Conv4, ModuleBackbone, TimmBackbone
from lightning_transfer.inner_loops import ANIL, MAML


class Pixels(nn.Module):
    """Two linear layers on the pixels."""

    num_features = 4

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(12, 6), nn.Linear(6, 4)

    def forward(self, image):
        return self.second(self.first(image.flatten(1)).tanh())


def task(ways=3, shots=2, queries=4):
    target = torch.arange(ways).repeat(shots)
    return (
        torch.rand(len(target), 3, 2, 2),
        target,
        torch.rand(ways * queries, 3, 2, 2),
        torch.arange(ways).repeat(queries),
    )


def built(kind=MAML, **arguments):
    backbone = ModuleBackbone(Pixels())
    loop = kind(**arguments)
    loop.build(backbone.num_features)
    return backbone, loop


@pytest.mark.parametrize(("first_order", "slope"), [(False, 0.72), (True, 1.2)])
def test_the_case_by_hand(first_order, slope):
    # w = 1, one step of 0.1 on (x, y) = (2, 1): w' = 1 - 0.1 · 2 · (2 - 1) = 0.8; on (3, 2): ½ (2.4 - 2)² = 0.08,
    # and its slope 0.4 · 3 = 1.2 in w', times 1 - 0.1 · 2² = 0.6 in w
    weight = torch.tensor(1.0, requires_grad=True)
    loop = MAML(rate=0.1, steps=1, first_order=first_order)
    adapted = loop.adapt(lambda w: (2 * w["w"] - 1).square() / 2, {"w": weight})["w"]
    loss = (3 * adapted - 2).square() / 2
    loss.backward()
    assert adapted.item() == pytest.approx(0.8)
    assert loss.item() == pytest.approx(0.08)
    assert weight.grad.item() == pytest.approx(slope, abs=1e-6)


@pytest.mark.parametrize("kind", [MAML, ANIL])
@pytest.mark.parametrize("first_order", [False, True])
def test_equals_steps_of_autograd(kind, first_order):
    backbone, loop = built(kind, rate=0.3, steps=3, ways=3, first_order=first_order)
    support, target, query, asked = task()

    def forward(weights, image):
        first, first_bias, second, second_bias, head, bias = weights
        return linear(linear(linear(image.flatten(1), first, first_bias).tanh(), second, second_bias), head, bias)

    own = [*backbone.parameters(), *loop.head.parameters()]
    weights, begin = list(own), 4 if kind is ANIL else 0
    for _ in range(3):
        loss = cross_entropy(forward(weights, support), target)
        slopes = torch.autograd.grad(loss, weights[begin:], create_graph=True)
        slopes = [s.detach() for s in slopes] if first_order else slopes
        weights = weights[:begin] + [w - 0.3 * s for w, s in zip(weights[begin:], slopes, strict=True)]
    expected = forward(weights, query)
    found = loop.train()(backbone, support, target, query)
    torch.testing.assert_close(found, expected)
    wanted = torch.autograd.grad(cross_entropy(expected, asked), own)
    cross_entropy(found, asked).backward()
    for parameter, slope in zip(own, wanted, strict=True):
        torch.testing.assert_close(parameter.grad, slope)


def test_a_start_from_prototypes_answers_like_them():
    backbone, loop = built(rate=1e-9, steps=1)
    support, target, query, _ = task(ways=5)
    found = loop(backbone, support, target, query)
    means = torch.stack([backbone(support).embedding[target == k].mean(dim=0) for k in range(5)])
    expected = -torch.cdist(backbone(query).embedding, means).square()
    torch.testing.assert_close(found.log_softmax(dim=1), expected.log_softmax(dim=1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    "backbone", [Conv4(norm="group", image_size=32), TimmBackbone("test_resnet", pretrained=False)]
)
def test_leaves_the_network_to_the_bit_as_it_was(backbone):
    loop = MAML(rate=0.5, steps=2, ways=2)
    loop.build(backbone.num_features)
    before = {name: tensor.clone() for name, tensor in (*backbone.state_dict().items(), *loop.state_dict().items())}
    image = torch.rand(4, 3, 32, 32)
    with torch.no_grad():
        first = loop.eval()(backbone.eval(), image, torch.tensor([0, 0, 1, 1]), image)
        again = loop(backbone, image, torch.tensor([0, 0, 1, 1]), image)
        each = torch.cat([loop(backbone, image, torch.tensor([0, 0, 1, 1]), one) for one in image.split(1)])
    assert torch.equal(first, again)
    torch.testing.assert_close(first, each, atol=1e-4, rtol=1e-4)  # what else is asked changes nothing
    after = {**backbone.state_dict(), **loop.state_dict()}
    assert all(torch.equal(after[name], tensor) for name, tensor in before.items())


def test_steps_help_and_are_as_many_as_asked():
    backbone, loop = built(rate=0.5, steps=1, test_steps=30, ways=3)
    support, target, _, _ = task()
    start = cross_entropy(loop.train()(backbone, support, target, support), target)
    assert cross_entropy(loop.eval()(backbone, support, target, support), target) < start - 0.05


def test_frozen_weights_are_not_adapted():
    backbone, loop = built(rate=0.5, ways=3)
    backbone.module.first.requires_grad_(False)
    names = set(loop.start(backbone, *task()[:2]))
    assert names == {"backbone.module.second.weight", "backbone.module.second.bias", "head.weight", "head.bias"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 0.0}, "rate=0.0 of MAML must be positive"),
        ({"steps": 0}, "steps=0 of MAML must be at least 1"),
        ({"test_steps": 0}, "test_steps=0 of MAML must be at least 1"),
        ({"ways": 1}, "ways=1 of MAML must be at least 2"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        MAML(**arguments)


def test_a_learned_head_refuses_other_ways():
    backbone, loop = built(ways=3)
    with pytest.raises(ValueError, match="MAML has a head for ways=3, but the episode has 5; set inner_loop.ways=null"):
        loop(backbone, *task(ways=5)[:3])
