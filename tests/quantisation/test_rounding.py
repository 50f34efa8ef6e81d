import pytest
import torch

from lightning_transfer.quantisation import ActivationQuantiser, quantise_weight, weight_scale


@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_are_multiples_of_their_channels_scale(bits):
    torch.manual_seed(0)
    weight = torch.randn(5, 3, 2, 2)
    weight[4] = 0
    scale, top = weight_scale(weight, bits), 2 ** (bits - 1) - 1
    expected = (weight / scale.view(-1, 1, 1, 1)).round().clamp(-top, top) * scale.view(-1, 1, 1, 1)
    torch.testing.assert_close(quantise_weight(weight, bits), expected)
    assert quantise_weight(weight, bits)[4].eq(0).all()
    peak = weight.flatten(1).abs().amax(1)
    torch.testing.assert_close(quantise_weight(weight, bits).flatten(1).abs().amax(1), peak)


@pytest.mark.filterwarnings("ignore:torch.quantize_per")
def test_weights_are_those_of_torchs_quantised_tensors():
    torch.manual_seed(0)
    weight = torch.randn(4, 6)
    scale = weight_scale(weight, 8)
    there = torch.quantize_per_channel(weight, scale.double(), torch.zeros(4, dtype=torch.int64), 0, torch.qint8)
    torch.testing.assert_close(quantise_weight(weight, 8), there.dequantize())


def test_the_gradient_passes_within_the_range_and_not_outside():
    quantiser = ActivationQuantiser(bits=4).train()
    quantiser(torch.tensor([-1.0, 3.0]))
    x = torch.tensor([-2.0, -0.5, 0.3, 2.9, 5.0], requires_grad=True)
    quantiser.eval()(x).sum().backward()
    assert x.grad.tolist() == [0, 1, 1, 1, 0]
    weight = torch.randn(3, 4, requires_grad=True)
    quantise_weight(weight, 3).sum().backward()
    assert weight.grad.eq(1).all()


def test_the_range_is_a_mean_then_follows_then_stays():
    quantiser = ActivationQuantiser(bits=8, batches=3).train()
    assert quantiser.eval()(torch.tensor([0.3])).item() == pytest.approx(0.3)  # it has seen nothing, and rounds nothing
    quantiser.train()
    for high in (1.0, 2.0, 3.0, 100.0):
        quantiser(torch.tensor([0.5, high]))
    assert (quantiser.low.item(), quantiser.high.item(), quantiser.seen.item()) == (0, pytest.approx(2.0), 3)
    values = quantiser.eval()(torch.linspace(-1, 9, 2001))
    assert len(values.unique()) == 256
    assert (values.min().item(), values.max().item()) == (0, pytest.approx(2.0))


def test_zero_is_always_among_the_values():
    quantiser = ActivationQuantiser(bits=3).train()
    assert quantiser(torch.tensor([-0.9, 0.0, 2.3]))[1] == 0
