import pytest
import torch
from torch.testing import assert_close

from lightning_transfer.quantisation import ActivationQuantiser, quantise_weight, weight_scale


@pytest.mark.parametrize("bits", [2, 3, 4, 7, 8])
def test_weights_are_the_nearest_multiples_of_their_channels_scale(bits):
    weight = torch.randn(5, 3, 3, 3) * torch.tensor([1e-4, 0.1, 1, 10, 0]).view(-1, 1, 1, 1)
    top = 2 ** (bits - 1) - 1
    scale = weight.flatten(1).abs().amax(1).clamp(min=1e-12) / top
    assert_close(weight_scale(weight, bits), scale)
    expected = (weight / scale.view(-1, 1, 1, 1)).round().clamp(-top, top) * scale.view(-1, 1, 1, 1)
    found = quantise_weight(weight, bits)
    assert_close(found, expected)
    assert_close(found[:4].flatten(1).abs().amax(1), weight[:4].flatten(1).abs().amax(1))  # the largest is kept
    assert not found[4].any()
    assert all(len(channel.unique()) <= 2**bits - 1 for channel in found)


@pytest.mark.skipif(not hasattr(torch, "quantize_per_channel"), reason="torch is about to drop them")
@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
def test_eight_bits_equal_torchs_own_quantised_tensors():
    weight = torch.randn(6, 10)
    own = torch.quantize_per_channel(weight, weight_scale(weight, 8).double(), torch.zeros(6), 0, torch.qint8)
    assert_close(quantise_weight(weight, 8), own.dequantize())
    quantiser, x = ActivationQuantiser(), torch.randn(4, 50)
    quantiser(x)
    scale, zero = quantiser.grid()
    own = torch.quantize_per_tensor(x, float(scale), int(zero), torch.quint8)
    assert_close(quantiser.eval()(x), own.dequantize())


def ranged(low, high, bits=8):
    quantiser = ActivationQuantiser(bits).eval()
    quantiser.low.fill_(low)
    quantiser.high.fill_(high)
    quantiser.seen.fill_(1)
    return quantiser


@pytest.mark.parametrize(("low", "high", "bits"), [(-1.0, 3.0, 8), (0.0, 6.0, 8), (-2.0, 0.0, 4), (-0.7, 1.3, 2)])
def test_activations_are_the_nearest_numbers_of_the_range(low, high, bits):
    quantiser = ranged(low, high, bits)
    scale = (high - low) / (2**bits - 1)
    zero = round(-low / scale)
    x = torch.linspace(low - 1, high + 1, 1001)
    numbers = torch.arange(2**bits) - zero
    expected = scale * numbers[(x[:, None] / scale - numbers).abs().argmin(1)]
    close = (quantiser(x) - expected).abs() < 1e-5
    assert close.float().mean() > 0.99  # in the middle between two numbers either is nearest
    assert quantiser(torch.zeros(1)).item() == 0


def test_the_gradient_passes_within_the_range_and_nowhere_else():
    x = torch.tensor([-1.5, -0.9, 0.0, 2.9, 3.5], requires_grad=True)
    ranged(-1.0, 3.0)(x).backward(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))
    assert x.grad.tolist() == [0.0, 2.0, 3.0, 4.0, 0.0]
    weight = torch.randn(3, 4, requires_grad=True)
    quantise_weight(weight, 2).sum().backward()
    assert_close(weight.grad, torch.ones(3, 4))


def test_a_range_is_the_mean_of_the_first_batches_then_moves_slowly_then_stands():
    quantiser = ActivationQuantiser(batches=102)
    ends = [torch.tensor([-float(i), 2.0 * i]) for i in range(1, 103)]
    for x in ends[:100]:
        quantiser(x)
    assert_close(quantiser.low, torch.tensor(-50.5))
    assert_close(quantiser.high, torch.tensor(101.0))
    quantiser(ends[100])
    assert_close(quantiser.low, torch.tensor(-50.5 + 0.01 * (-101 + 50.5)))
    quantiser(ends[101])
    fixed = quantiser.low.clone()
    quantiser(torch.tensor([-1e6, 1e6]))
    assert quantiser.low == fixed
    assert quantiser.seen == 102


def test_zero_is_always_in_the_range_and_evaluation_moves_nothing():
    quantiser = ActivationQuantiser()
    assert quantiser.eval()(torch.tensor([0.123])).item() == pytest.approx(0.123)  # has seen nothing
    quantiser.train()(torch.tensor([2.0, 3.0]))
    assert (quantiser.low, quantiser.high) == (0, 3)
    state = {name: value.clone() for name, value in quantiser.state_dict().items()}
    quantiser.eval()(torch.tensor([-9.0, 9.0]))
    assert all(torch.equal(value, state[name]) for name, value in quantiser.state_dict().items())


def test_an_input_that_is_always_zero_and_half_precision():
    quantiser = ActivationQuantiser()
    assert quantiser(torch.zeros(4)).tolist() == [0] * 4
    found = ranged(-1.0, 3.0)(torch.tensor([1.0, 2.0], dtype=torch.bfloat16))
    assert found.dtype == torch.bfloat16
    assert found.isfinite().all()
