from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.backbones import ModuleBackbone
from lightning_transfer.compression import coupled
from lightning_transfer.compression.channels import choose, remove_channels
from lightning_transfer.compression.coupled import CoupledChannels, find_channels
from lightning_transfer.compression.macs import count_macs
from lightning_transfer.edits.narrow_channels import narrowing
from lightning_transfer.heads import CosineHead, MLPHead

pytest.importorskip("torch_pruning")
IMAGE = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


class Grouped(nn.Sequential):
    """Two groups, then as many as channels, and two outputs of each of those."""

    num_features = 24

    def __init__(self):
        layers = [nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 12, 3, groups=2), nn.BatchNorm2d(12)]
        layers += [nn.Conv2d(12, 12, 3, groups=12), nn.Conv2d(12, 24, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
        super().__init__(*layers)


def build(name, **options):
    """A classifier no two of whose weights are alike."""
    backbone = ModuleBackbone(name()) if isinstance(name, type) else TimmBackbone(name, pretrained=False)
    model = FinetuneModule(backbone, 4, image_size=32, **options).model.eval()
    for tensor in model.state_dict().values():
        if tensor.is_floating_point() and tensor.ndim:
            tensor.add_(0.1 * torch.rand_like(tensor))
    return model


def prune(model, ratio=0.3, round_to=1, **options):
    narrow = deepcopy(model)
    return narrow, remove_channels(narrow, IMAGE[:1], ratio, round_to=round_to, **options)


def zeroed(dense, narrow):
    """The dense network, with all that a layer puts out in channels that the narrow one lacks at zero; a bias tells which these are."""
    dense = deepcopy(dense)
    for name, layer in narrow.named_modules():
        whole = dense.get_submodule(name)
        if isinstance(getattr(layer, "bias", None), nn.Parameter) and len(layer.bias) < len(whole.bias):
            gone = ~torch.isin(whole.bias.data, layer.bias.data)
            assert gone.sum() == len(whole.bias) - len(layer.bias)
            whole.bias.data[gone] = 0
            whole.weight.data[gone] = 0
    return dense


@pytest.mark.parametrize("options", [{}, {"ranking": "isomorphic", "round_to": 4}])
@pytest.mark.parametrize(
    "name", ["test_resnet", "test_efficientnet", "test_convnext", "test_vit", "test_byobnet", Grouped]
)
def test_computes_what_the_dense_network_does_with_the_channels_at_zero(name, options):
    dense = build(name)
    narrow, _ = prune(dense, **options)
    torch.testing.assert_close(narrow(IMAGE).logits, zeroed(dense, narrow)(IMAGE).logits, atol=1e-5, rtol=1e-5)
    assert (narrow(IMAGE).logits - dense(IMAGE).logits).abs().max() > 1e-4
    assert sum(p.numel() for p in narrow.parameters()) < sum(p.numel() for p in dense.parameters())
    assert count_macs(narrow, IMAGE[:1]) < count_macs(dense, IMAGE[:1])
    assert narrow(IMAGE).features.embedding.shape[1] == narrow.backbone.num_features


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", Grouped])
def test_the_edit_builds_a_network_of_these_widths(name):
    dense = build(name)
    narrow, _ = prune(dense)
    again = build(name)
    narrowing(dense, narrow)(again)
    again.load_state_dict(narrow.state_dict())
    assert torch.equal(again(IMAGE).logits, narrow(IMAGE).logits)


def test_a_ratio_of_nothing_changes_nothing():
    dense = build("test_efficientnet")
    narrow, _ = prune(dense, ratio=0.0, round_to=7)
    assert all(torch.equal(v, narrow.state_dict()[k]) for k, v in dense.state_dict().items())


def test_depthwise_and_grouped_convolutions_stay_so():
    narrow, left_out = prune(build(Grouped), ratio=0.5)
    first, _, _, grouped, _, depthwise, *_ = narrow.backbone.module
    assert (first.out_channels, grouped.in_channels, grouped.out_channels, grouped.groups) == (4, 4, 6, 2)
    assert (depthwise.groups, depthwise.weight.shape) == (6, (6, 1, 3, 3))
    assert not left_out


def test_heads_of_attention_go_whole():
    narrow, left_out = prune(build("test_vit"), ratio=0.5)
    attention = narrow.backbone.model.blocks[0].attn
    assert (attention.num_heads, attention.head_dim, attention.qkv.out_features) == (1, 32, 96)
    assert narrow.backbone.model.blocks[0].mlp.fc1.out_features == 96
    assert left_out == {
        "backbone.model.blocks.5.mlp.fc2": "backbone.model.norm is of kind LayerNorm, which averages over them"
    }


def test_smallest_weights_go_first():
    dense = build(Grouped)
    with torch.no_grad():
        for module in (dense.backbone.module[-3], dense.head):  # outputs 0 and 5 of the last convolution
            weight = module.weight if module is not dense.head else module.weight.T
            weight[[0, 5]] = 1e-4
    bias = dense.backbone.module[-3].bias.data
    narrow, _ = prune(dense, ratio=2 / 24)
    assert torch.equal(narrow.backbone.module[-3].bias.data, bias[[i for i in range(24) if i not in (0, 5)]])


def test_taylor_takes_the_channels_without_a_gradient():
    dense = build(Grouped)
    dense.head.weight.data[:, [0, 5]] = 0  # nothing that they put out is seen
    loss = cross_entropy(dense(IMAGE).logits, torch.tensor([0, 1]))
    loss.backward()
    bias = dense.backbone.module[-3].bias.data
    remove_channels(dense, IMAGE[:1], 2 / 24, importance="taylor", round_to=1)
    assert torch.equal(dense.backbone.module[-3].bias.data, bias[[i for i in range(24) if i not in (0, 5)]])


def units(number, size=1):
    return CoupledChannels("layer", (), torch.arange(number * size).view(number, size))


@pytest.mark.parametrize(
    ("ratio", "round_to", "gone"), [(0.3, 1, 3), (0.99, 1, 9), (0.3, 4, 2), (0.7, 4, 6), (0.05, 16, 0), (0.4, 3, 4)]
)
def test_one_channel_stays_at_least_and_the_rest_is_rounded(ratio, round_to, gone):
    (rows,) = choose([units(10)], [torch.arange(10).flip(0).float()], ratio, "layer", round_to)
    assert rows.tolist() == [*range(9, 9 - gone, -1)]


def test_rounding_counts_channels_not_units():
    (rows,) = choose([units(10, size=6)], [torch.arange(10.0)], 0.3, "layer", 4)
    assert 6 * (10 - len(rows)) % 4 == 0
    assert len(rows) == 2


def test_isomorphic_ranking_takes_from_the_layer_that_matters_least():
    pair = [units(4), units(4)]  # of the same structure: none
    rows = choose(pair, [torch.tensor([1.0, 2, 3, 4]), torch.tensor([5.0, 6, 7, 8])], 0.25, "isomorphic", 1)
    assert [len(of) for of in rows] == [2, 0]
    rows = choose(pair, [torch.tensor([1.0, 2, 3, 4]), torch.tensor([5.0, 6, 7, 8])], 0.25, "layer", 1)
    assert [len(of) for of in rows] == [1, 1]


@pytest.mark.parametrize("head", [MLPHead, CosineHead])
def test_other_heads(head):
    dense = build("test_resnet", head=head)
    narrow, left_out = prune(dense)
    assert narrow(IMAGE).logits.shape == (2, 4)
    assert list(left_out.values()) == (["head.weight is a parameter of its own"] if head is CosineHead else [])


class Alone(nn.Linear):
    """All there is in front of the head is a layer that alters its weight."""

    num_features = 5

    def __init__(self):
        super().__init__(3 * 32 * 32, 5)

    def forward(self, image):
        return nn.functional.linear(image.flatten(1), self.weight.tanh(), self.bias)


class Halved(Grouped):
    """Its channels are mixed by a product that no graph of channels knows of."""

    def forward(self, image):
        out = super().forward(image)
        return out + out.cumsum(1) * 3


class Odd(Grouped):
    """Its forward pass is bound to its width."""

    def forward(self, image):
        return super().forward(image) * torch.ones(24)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        (
            "test_vit_relpos",
            "test_vit_relpos cannot be pruned: .*RelPosAttention, and no attention but timm's plain one",
        ),
        (
            Alone,
            r"Alone has no channels that can be pruned: backbone.module: .* is of kind Alone, which alters its weight",
        ),
        (
            Halved,
            r"Halved cannot be pruned: without these channels its logits differ by .* from those with them at zero",
        ),
        (Odd, r"Odd cannot be pruned, since Torch-Pruning cannot follow it: The size of tensor a \(17\)"),
    ],
)
def test_says_which_networks_cannot_be_pruned(name, sentence):
    with pytest.raises(ValueError, match=sentence):
        prune(build(name))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"ratio": 1.0}, "ratio=1.0 is a share"),
        ({"ratio": -0.1}, "ratio=-0.1 is a share"),
        ({"round_to": 0}, "round_to=0 must be at least 1"),
        ({"importance": "luck"}, "importance='luck' must be"),
        ({"ranking": "global"}, "ranking='global' must be"),
    ],
)
def test_refuses(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        prune(nn.Identity(), **options)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch_pruning", None)
    with pytest.raises(ModuleNotFoundError, match=r"lightning_transfer\[compress\]"):
        find_channels(build(Grouped), IMAGE[:1])
    assert coupled.network_name(build("test_resnet")) == "test_resnet"


def test_multiplications_are_those_of_the_closed_form():
    network = nn.Sequential(nn.Conv2d(4, 6, 3, groups=2), nn.Flatten(), nn.Linear(6 * 9, 5))
    assert count_macs(network, torch.rand(1, 4, 5, 5)) == 9 * 6 * 2 * 9 + 54 * 5
    attention = TimmBackbone("test_vit", pretrained=False).model.blocks[0].attn.eval()
    tokens, width = 7, 64
    projections = tokens * width * width * 4
    assert count_macs(attention, torch.rand(1, tokens, width)) == projections + 2 * tokens * tokens * width
