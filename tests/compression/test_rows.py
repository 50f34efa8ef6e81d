import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from lightning_transfer.compression import rows
from lightning_transfer.compression.rows import input_columns, neighbours, obstacle, set_rows, weight_rows

CONVOLUTIONS = [
    nn.Conv2d(4, 6, 3, padding=1),
    nn.Conv2d(4, 6, 1, stride=2),
    nn.Conv2d(4, 8, (3, 2), stride=(1, 2), padding=(0, 1), dilation=2, groups=2),
    nn.Conv2d(6, 6, 3, padding="same", groups=6),
    nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
    nn.Conv2d(4, 6, 3, padding=(2, 1), padding_mode="circular"),
    Conv2dSame(4, 6, 3, stride=2),
    Conv2dSame(6, 6, 5, stride=2, groups=6),
]


@pytest.mark.parametrize("layer", CONVOLUTIONS, ids=str)
@pytest.mark.parametrize("values", [1, 1 << 24])
def test_rows_times_columns_are_what_a_convolution_puts_out(layer, values, monkeypatch):
    monkeypatch.setattr(rows, "_VALUES", values)
    layer = layer.double()
    image = torch.randn(3, layer.in_channels, 9, 8, dtype=torch.float64)
    expected = layer(image) - layer.bias[:, None, None]
    columns = torch.cat([*input_columns(layer, image)], dim=2)
    found = (weight_rows(layer) @ columns).flatten(0, 1)  # (outputs, images and positions)
    torch.testing.assert_close(found, expected.transpose(0, 1).flatten(1))


def test_rows_times_columns_are_what_a_linear_layer_puts_out():
    layer = nn.Linear(5, 3).double()
    tokens = torch.randn(2, 7, 5, dtype=torch.float64)
    (columns,) = input_columns(layer, tokens)
    torch.testing.assert_close((weight_rows(layer) @ columns)[0].T, (layer(tokens) - layer.bias).flatten(0, 1))


@pytest.mark.parametrize("layer", [*CONVOLUTIONS, nn.Linear(5, 3)], ids=str)
def test_rows_return_to_their_place(layer):
    before = layer.weight.clone()
    kept = weight_rows(layer)
    nn.init.zeros_(layer.weight)
    set_rows(layer, kept)
    assert torch.equal(layer.weight, before.to(layer.weight.dtype))


def test_neighbours_are_channels_of_one_place():
    layer = nn.Conv2d(8, 2, 3, groups=2)
    assert neighbours(layer) == 4
    nn.init.zeros_(layer.weight)
    with torch.no_grad():
        layer.weight[0, :, 0, 1] = torch.arange(1.0, 5)
    assert weight_rows(layer)[0, 0].tolist() == [0] * 4 + [1, 2, 3, 4] + [0] * 28


def test_only_layers_that_use_their_weight_as_it_is():
    from timm.layers.std_conv import ScaledStdConv2d

    assert all(obstacle(layer) is None for layer in (*CONVOLUTIONS, nn.Linear(2, 2)))
    assert "ScaledStdConv2d, which alters its weight" in obstacle(ScaledStdConv2d(4, 4, 3))
    assert "a Conv1d, and neither" in obstacle(nn.Conv1d(2, 2, 1))
