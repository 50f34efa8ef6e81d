import pytest
import torch
from torch import nn

from lightning_transfer.compression import GPTQ, NM, ExactOBS, Magnitude, RoundToNearest, Unstructured
from lightning_transfer.compression.kept import KeptLayers
from lightning_transfer.compression.layers import choose_layers
from lightning_transfer.compression.network import compress_network

# at a damping of 1e-4 last digits of the inputs, which differ among processors, reach a thousandth
HALF = ExactOBS(Unstructured(0.5), damping=0.01)


class Net(nn.Module):
    """A stem, a depthwise and a dense convolution, one layer that is called twice, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, stride=2)
        self.depthwise = nn.Conv2d(8, 8, 3, groups=8, padding=1)
        self.pointwise = nn.Conv2d(8, 16, 1)
        self.twice = nn.Linear(16, 16)
        self.head = nn.Linear(16, 4)

    def forward(self, image):
        x = self.pointwise(self.depthwise(self.stem(image).tanh()).tanh()).mean((2, 3))
        return self.head(self.twice(self.twice(x).tanh()))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval()


def weights(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def compressed(net, batches, compressions=(HALF,), **options):
    layers = choose_layers(net, compressions, options.pop("targets", None)).layers
    return compress_network(net, layers, compressions, batches, **options)


def test_chooses_all_but_stem_and_head(net):
    choice = choose_layers(net, [HALF])
    assert [*choice.layers] == ["depthwise", "pointwise", "twice"]
    assert choice.left_out == {"stem": "the first convolution", "head": "the head"}
    assert [*choose_layers(net, [HALF], "stem|head").layers] == ["stem", "head"]
    by_fours = choose_layers(net, [ExactOBS(NM(2, 4))])
    assert by_fours.left_out["depthwise"] == "1 input channels are no multiple of m=4"


def test_each_layer_is_what_its_dense_inputs_make_of_it(net, batches, gather):
    images = torch.cat(batches)
    hidden = net.depthwise(net.stem(images).tanh()).tanh()
    expected = HALF(gather(net.pointwise, hidden))
    rows = compressed(net, batches)
    torch.testing.assert_close(net.pointwise.weight.flatten(1), expected[0].float(), rtol=1e-3, atol=1e-5)
    assert [(row.name, row.weights, row.zeros) for row in rows] == [
        ("depthwise", 72, 36), ("pointwise", 128, 64), ("twice", 256, 128),
    ]  # fmt: skip
    assert all(0 < row.error < 1 for row in rows)


def test_a_layer_that_is_called_twice_sees_both_inputs(net, batches, gather):
    images = torch.cat(batches)
    x = net.pointwise(net.depthwise(net.stem(images).tanh()).tanh()).mean((2, 3))
    both = gather(net.twice, torch.cat([x, net.twice(x).tanh()]))
    compressed(net, batches, targets="twice")
    torch.testing.assert_close(net.twice.weight, HALF(both)[0].float(), rtol=1e-3, atol=1e-5)


def test_memory_changes_the_passes_and_nothing_else(net, batches):
    before, seen = weights(net), []
    compressed(net, batches)
    at_once = weights(net)
    net.load_state_dict(before)
    compressed(net, Counting(batches, seen), gigabytes=1e-9)
    assert all(torch.equal(tensor, at_once[name]) for name, tensor in weights(net).items())
    assert len(seen) == 1 + 3  # one to see who is called, one a layer


class Counting(list):
    def __init__(self, batches, seen):
        super().__init__(batches)
        self.seen = seen

    def __iter__(self):
        self.seen.append(1)
        return super().__iter__()


def test_compressed_inputs_come_from_the_layers_in_front(net, batches, gather):
    images = torch.cat(batches)
    dense = compressed_inputs = None
    before = weights(net)
    compressed(net, batches, targets="depthwise")
    compressed_inputs = gather(net.pointwise, net.depthwise(net.stem(images).tanh()).tanh())
    net.load_state_dict(before)
    compressed(net, batches, inputs="compressed")
    torch.testing.assert_close(
        net.pointwise.weight.flatten(1), HALF(compressed_inputs)[0].float(), rtol=1e-3, atol=1e-5
    )
    net.load_state_dict(before)
    dense = gather(net.pointwise, net.depthwise(net.stem(images).tanh()).tanh())
    assert not torch.allclose(HALF(dense), HALF(compressed_inputs), atol=1e-3)


@pytest.mark.parametrize("inputs", ["dense", "compressed"])
def test_resumed_equals_uninterrupted(net, batches, tmp_path, inputs):
    before = weights(net)
    whole = compressed(net, batches, inputs=inputs)
    expected = weights(net)
    net.load_state_dict(before)

    def stop(layer):
        if layer.name == "pointwise":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compressed(net, batches, inputs=inputs, kept=KeptLayers(tmp_path / "kept", {"a": 1}), tell=stop)
    net.load_state_dict(before)
    resumed = compressed(net, batches, inputs=inputs, kept=KeptLayers(tmp_path / "kept", {"a": 1}))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in weights(net).items())
    assert [row[:5] for row in resumed] == [row[:5] for row in whole]
    with pytest.raises(ValueError, match="had other settings"):
        KeptLayers(tmp_path / "kept", {"a": 2})


def test_what_looks_at_no_image_needs_none(net):
    rows = compressed(net, [], [Magnitude(Unstructured(0.5, across="model")), RoundToNearest(4)])
    assert sum(row.zeros for row in rows) >= 228
    assert {row.error for row in rows} == {None}
    assert {row.bits for row in rows} == {4}
    assert all(len(row.unique()) <= 16 for row in net.twice.weight)


def test_pruned_and_rounded(net, batches):
    rows = compressed(net, batches, [HALF, GPTQ(4)])
    assert all(row.zeros >= row.weights // 2 for row in rows)


def test_complaints(net, batches):
    with pytest.raises(ValueError, match="no calibration images"):
        compressed(net, [])
    with pytest.raises(ValueError, match="targets='[(]' is no regular expression"):
        choose_layers(net, [HALF], "(")
    with pytest.raises(ValueError, match="targets='nothing' leaves no layer"):
        choose_layers(net, [HALF], "nothing")
    with pytest.raises(ValueError, match="names depthwise, which cannot be compressed so: 1 input channels"):
        choose_layers(net, [ExactOBS(NM())], "depthwise")
    net.more = nn.ConvTranspose2d(2, 2, 1)
    with pytest.raises(ValueError, match="names more, which cannot be compressed so: a ConvTranspose2d"):
        choose_layers(net, [HALF], "more")
    net.more = nn.Linear(2, 2)
    with pytest.raises(ValueError, match="more: never called"):
        compressed(net, batches)
    for option in ({"inputs": "none"}, {"gigabytes": 0}):
        with pytest.raises(ValueError, match=f"{next(iter(option))}="):
            compressed(net, batches, targets="twice", **option)
