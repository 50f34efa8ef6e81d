from itertools import product

import pytest
import torch
from torch import nn

from lightning_transfer.compression import GPTQ, NM, Budget, ExactOBS, Magnitude, RoundToNearest, Unstructured
from lightning_transfer.compression.kept import KeptLayers
from lightning_transfer.compression.layers import choose_layers
from lightning_transfer.compression.levels import share_out
from lightning_transfer.compression.network import compress_network

HALF, FEW = [ExactOBS(Unstructured(0.5))], [0.0, 0.25, 0.5, 0.75]


class Net(nn.Module):
    """A stem, two convolutions that read the same, one of them twice as large in effect, a wide layer, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.first = nn.Conv2d(8, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 1)
        self.wide = nn.Linear(8, 24)
        self.head = nn.Linear(24, 4)

    def forward(self, image):
        x = self.stem(image).tanh()
        return self.head(self.wide((self.first(x).tanh() + self.second(x)).mean((2, 3))).relu())


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


def shared(net, batches, budget, compressions=HALF, **options):
    return share_out(budget, net, choose_layers(net, compressions).layers, compressions, batches, **options)


def compressed(net, batches, compressions, plans=None):
    layers = choose_layers(net, compressions).layers
    return {row.name: row for row in compress_network(net, layers, compressions, batches, plans=plans)}


def test_costs_are_the_errors_that_the_levels_turn_out_to_have(net, batches, tmp_path):
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    kept = KeptLayers(tmp_path, {})
    spent = shared(net, batches, Budget(sparsities=FEW), kept=kept)
    assert all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    rows = compressed(net, batches, HALF, spent.plans)
    errors = {name: kept.costs(name)[FEW.index(row.zeros / row.weights)] for name, row in rows.items()}
    assert {name: row.error for name, row in rows.items()} == pytest.approx(errors, rel=1e-9)
    assert spent.cost == pytest.approx(sum(errors.values()), rel=1e-9)
    table = [kept.costs(name) for name in rows]
    sizes = [row.weights for row in rows.values()]
    ways = [
        way
        for way in product(range(4), repeat=3)
        if sum(s * FEW[i] for s, i in zip(sizes, way, strict=True)) >= sum(sizes) / 2
    ]
    best = min(sum(of[i] for of, i in zip(table, way, strict=True)) for way in ways)
    assert spent.cost == pytest.approx(best, rel=1e-12)


@pytest.mark.parametrize("price", ["weights", "macs"])
def test_a_budget_is_kept_and_costs_no_more_than_all_layers_alike(net, batches, price):
    spent = shared(net, batches, Budget(price))
    assert spent.spent <= spent.limit
    assert spent.limit - spent.spent < 0.02 * spent.limit
    assert spent.cost <= spent.cost_alike
    positions = (
        {"first": 25, "second": 25, "wide": 1} if price == "macs" else dict.fromkeys(("first", "second", "wide"), 1)
    )
    rows = compressed(net, batches, HALF, spent.plans)
    assert sum((row.weights - row.zeros) * positions[name] for name, row in rows.items()) == spent.spent
    assert spent.limit == sum(row.weights // 2 * positions[name] for name, row in rows.items())
    assert len({row.zeros / row.weights for row in rows.values()}) > 1


def test_bits_are_mixed(net, batches):
    spent = shared(net, batches, Budget("bits"), [GPTQ(4)])
    assert spent.cost < spent.cost_alike
    rows = compressed(net, batches, [GPTQ(4)], spent.plans)
    assert len({row.bits for row in rows.values()}) > 1
    assert sum(row.weights * row.bits for row in rows.values()) == spent.spent <= spent.limit
    assert spent.limit == 4 * sum(row.weights for row in rows.values())
    for name, row in rows.items():
        of = net.get_submodule(name).weight.flatten(1)
        assert max(len(unit.unique()) for unit in of) <= 2**row.bits


def test_zeros_and_bits_are_shared_out_together(net, batches):
    ways = [ExactOBS(Unstructured(0.5)), RoundToNearest(4)]
    spent = shared(net, batches, Budget("bits", sparsities=FEW, bits=[8, 6, 4, 3]), ways)
    assert spent.cost < spent.cost_alike
    alone = shared(net, batches, Budget("bits", sparsities=[0.5], bits=[8, 6, 4, 3]), ways)
    assert spent.cost <= alone.cost
    rows = compressed(net, batches, ways, spent.plans)
    assert all(row.zeros >= spent.plans[0][name] for name, row in rows.items())
    assert {row.bits for row in rows.values()} <= {8, 6, 4, 3}
    fixed = shared(net, batches, Budget("bits"), [ExactOBS(NM(2, 4)), GPTQ(4)])
    assert fixed.plans[0] == {"first": 288, "second": 32, "wide": 96}


class Twins(nn.Module):
    """Two like convolutions of one input, whose outputs count to different extents."""

    def __init__(self, share):
        super().__init__()
        self.stem, self.head = nn.Conv2d(3, 8, 3, stride=2), nn.Linear(8, 4)
        self.a, self.b = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)
        self.b.load_state_dict(self.a.state_dict())
        self.share = share

    def forward(self, image):
        x = self.stem(image).relu()
        return self.head((self.a(x) + self.share * self.b(x)).mean((2, 3)))


def test_layers_that_are_alike_get_the_same_level(batches):
    for cost in ("error", "divergence"):
        plans = shared(Twins(1.0).eval(), batches, Budget(cost=cost, sparsities=FEW)).plans
        assert plans == [{"a": 32, "b": 32}]


def test_divergence_knows_which_layer_the_answers_depend_on(batches):
    net = Twins(0.01).eval()
    assert shared(net, batches, Budget(sparsities=FEW)).plans == [{"a": 32, "b": 32}]
    assert shared(net, batches, Budget(cost="divergence", sparsities=FEW)).plans == [{"a": 16, "b": 48}]


@pytest.mark.parametrize("task", ["classification", "multi_label", "regression"])
def test_divergence_is_what_the_network_says_with_one_layer_compressed(net, batches, tmp_path, task):
    kept = KeptLayers(tmp_path, {})
    shared(net, batches, Budget(cost="divergence", sparsities=[0.0, 0.5]), task=task, kept=kept)
    image = torch.cat(batches)
    before = net(image).double()
    compress_network(net, {"wide": net.wide}, HALF, batches)
    after = net(image).double()
    expected = {
        "classification": (before.softmax(1) * (before.log_softmax(1) - after.log_softmax(1))).sum(1).mean(),
        "multi_label": torch.distributions.kl_divergence(
            *(torch.distributions.Bernoulli(logits=logits) for logits in (before, after))
        ).mean(),
        "regression": (after - before).square().mean(),
    }[task]
    assert kept.costs("wide") == pytest.approx([0, expected.item()], rel=1e-3, abs=1e-9)


def test_resumed_equals_uninterrupted(net, batches, tmp_path):
    whole = shared(net, batches, Budget())

    def stop(name):
        if name == "second":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        shared(net, batches, Budget(), kept=KeptLayers(tmp_path, {}), tell=stop)
    assert len([*tmp_path.rglob("*.json")]) == 3
    assert shared(net, batches, Budget(), kept=KeptLayers(tmp_path, {})) == whole


def test_memory_changes_nothing(net, batches):
    assert shared(net, batches, Budget(), gigabytes=1e-9) == shared(net, batches, Budget())


def test_complaints(net, batches):
    with pytest.raises(ValueError, match="is 104 weights, but the levels come to 416 at least"):
        shared(net, batches, Budget(sparsities=[0.0, 0.5]), [Magnitude(Unstructured(0.875))])
