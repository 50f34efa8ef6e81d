"""Decay towards the weights that training started from, instead of towards zero."""

import torch
from torch import Tensor, nn

from lightning_transfer.contracts import Penalty

_OLD = "backbone."  # so begin the names of the parameters that come from the source


class L2SP(Penalty):
    """Half the squared distance of the backbone from its start times `alpha`, plus half the squared size of what is new times `beta`.

    Where the backbone starts from is what it holds after the edits, when the module is built; a checkpoint brings these weights along.
    Frozen parameters are left out. It takes the place of weight decay: set the optimiser's `weight_decay` to 0, which would pull
    the same weights towards zero.

    Args:
        alpha: strength over the backbone, ≥ 0; 0.1 is common, the paper searches 0.001 to 1.
        beta: strength over parameters that the source lacks, the head's, ≥ 0; 0.01 in the paper.

    Shape:
        model with a part named `backbone` → scalar, ≥ 0

    Raises:
        ValueError: for a strength below 0, a model without a backbone, or a trainable parameter whose start is not known.

    Reference:
        Li, Grandvalet, Davoine, "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", ICML 2018, equation 2.

    Example:
        >>> model = nn.ModuleDict({"backbone": nn.Linear(1, 1, bias=False), "head": nn.Linear(1, 1, bias=False)})
        >>> _ = [nn.init.constant_(weight, 3.0) for weight in model.parameters()]
        >>> penalty = L2SP(alpha=0.1, beta=0.01)
        >>> penalty.remember(model)
        >>> _ = nn.init.constant_(model["backbone"].weight, 5.0)
        >>> round(penalty(model).item(), 4)  # 0.1 / 2 × (5 - 3)² + 0.01 / 2 × 3²
        0.245
    """

    def __init__(self, alpha: float = 0.1, beta: float = 0.01) -> None:
        super().__init__()
        for name, value in (("alpha", alpha), ("beta", beta)):
            if not value >= 0:
                raise ValueError(
                    f"{name}={value} must be at least 0; 0.1 over the backbone and 0.01 over the head are common"
                )
        self.alpha = alpha
        self.beta = beta

    def remember(self, model: nn.Module) -> None:
        if not isinstance(getattr(model, "backbone", None), nn.Module):
            raise ValueError(f"penalties: L2SP found no backbone in {type(model).__name__}")
        self._buffers.clear()
        for name, parameter in model.named_parameters():
            if name.startswith(_OLD) and parameter.requires_grad:
                self.register_buffer(_key(name), parameter.detach().clone())

    def forward(self, model: nn.Module) -> Tensor:
        drift, size = [], []
        for name, parameter in model.named_parameters():
            if parameter.requires_grad:
                # float32: squares of weights underflow in half precision
                if name.startswith(_OLD):
                    drift.append((parameter.float() - self._start(name).float()).square().sum())
                else:
                    size.append(parameter.float().square().sum())
        zero = torch.zeros((), device=next(model.parameters()).device)
        return self.alpha / 2 * sum(drift, zero) + self.beta / 2 * sum(size, zero)

    def _start(self, name: str) -> Tensor:
        start = self._buffers.get(_key(name))
        if start is None:
            raise ValueError(
                f"penalties: L2SP does not know where {name!r} started from: it was frozen or missing when the module was built; "
                "leave it trainable until training starts, or call remember(model) again"
            )
        return start


def _key(name: str) -> str:
    return f"source/{name.replace('.', '/')}"  # torch allows no dots in a buffer's name
