"""Rounding to a few evenly spaced numbers, with a gradient as if nothing had been rounded."""

import torch
from torch import Tensor, nn
from torch.distributed import ReduceOp, all_reduce

from lightning_transfer.losses.gather import processes

_LEAST = 1e-12  # of a range: a channel whose weights are all zero has one too
_MOMENTUM = 0.01  # of the moving average, once it is no longer a plain mean


def check_bits(name: str, bits: int) -> None:
    """Refuse what makes no grid that 8-bit integers hold.

    Raises:
        ValueError: naming the argument.
    """
    if not 2 <= bits <= 8:
        raise ValueError(f"{name}={bits} of FakeQuantise must lie in 2 to 8; 8 is what integer kernels compute with")


def weight_scale(weight: Tensor, bits: int) -> Tensor:
    """Distance of two numbers of each output channel's grid, such that its largest weight is on it.

    Shape:
        weight (R, ...) → (R,)
    """
    peak: Tensor = weight.detach().flatten(1).abs().amax(dim=1)
    scale: Tensor = peak.clamp(min=_LEAST) / (2 ** (bits - 1) - 1)
    return scale


def quantise_weight(weight: Tensor, bits: int) -> Tensor:
    """Round the weights of each output channel to the numbers -n to n times its scale, n = 2^(bits - 1) - 1.

    Args:
        weight: (R, ...).
        bits: 2 to 8.

    Reference:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018,
        section 3; Krishnamoorthi, "Quantizing deep convolutional networks for efficient inference", 2018, section 3.1, for a scale a
        channel.

    Example:
        >>> quantise_weight(torch.tensor([[3.0, 1.4, -0.6], [0.0, 0.0, 0.0]]), bits=3)
        tensor([[ 3.,  1., -1.],
                [ 0.,  0.,  0.]])
    """
    top = 2 ** (bits - 1) - 1
    scale = weight_scale(weight, bits)
    return torch.fake_quantize_per_channel_affine(
        weight, scale, torch.zeros_like(scale, dtype=torch.int32), 0, -top, top
    )


class ActivationQuantiser(nn.Module):
    """Rounds activations to 2^bits evenly spaced numbers, 0 among them; those outside of the range go to its ends, without a gradient.

    The range follows the least and greatest value of training batches, of all processes together: their mean over the first 100, then
    a moving average. After `batches` of them it stays as it is. What has seen no training batch rounds nothing.

    Args:
        bits: 2 to 8.
        batches: after which the range is fixed, at least 1.

    Shape:
        any → the same

    Reference:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference", CVPR 2018,
        sections 2.1 and 3.1.

    Example:
        >>> quantiser = ActivationQuantiser(bits=2)
        >>> quantiser(torch.tensor([-1.0, 0.2, 2.0]))
        tensor([-1.,  0.,  2.])
    """

    low: Tensor
    high: Tensor
    seen: Tensor

    def __init__(self, bits: int = 8, batches: int = 100) -> None:
        super().__init__()
        self.bits = bits
        self.batches = batches
        self.register_buffer("low", torch.zeros(()))
        self.register_buffer("high", torch.zeros(()))
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @property
    def top(self) -> int:
        """Number of the last value, from 0."""
        return int(2**self.bits) - 1

    def grid(self) -> tuple[Tensor, Tensor]:
        """Distance of two values, and number of that which is 0, int32."""
        scale = (self.high - self.low).clamp(min=_LEAST) / self.top
        return scale, (-self.low / scale).round().clamp(0, self.top).to(torch.int32)

    @torch.no_grad()
    def observe(self, x: Tensor) -> None:
        """Let the range follow a batch."""
        ends = torch.stack(torch.aminmax(x.detach().float())) * self.low.new_tensor([-1.0, 1.0])
        if processes() > 1:
            all_reduce(ends, ReduceOp.MAX)
        low, high = ends.clamp(min=0) * ends.new_tensor([-1.0, 1.0])
        share = max(1 / (int(self.seen) + 1), _MOMENTUM)
        self.low.lerp_(low, share)
        self.high.lerp_(high, share)
        self.seen += 1

    def forward(self, x: Tensor) -> Tensor:
        if self.training and self.seen < self.batches:
            self.observe(x)
        rounded = torch.fake_quantize_per_tensor_affine(x.float(), *self.grid(), 0, self.top)
        return torch.where(
            self.seen > 0, rounded.to(x.dtype), x
        )  # a branch would wait for a GPU, and could not be exported
