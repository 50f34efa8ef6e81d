"""Scores of learned directions, for losses that put images among prototypes."""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from lightning_transfer.parts import Part


class PrototypeProjector(Part, nn.Module):
    """An MLP, then cosines with prototypes (DINO).

    Args:
        in_features: D.
        hidden: width of the hidden layers.
        bottleneck: width of what is compared with the prototypes.
        out_features: how many prototypes there are; 65,536 for ImageNet.
        layers: of the MLP, ≥ 1.

    Shape:
        (B, D) → (B, out_features), in [-1, 1]

    Raises:
        ValueError: for no layer.

    Reference:
        Caron et al., "Emerging Properties in Self-Supervised Vision Transformers", ICCV 2021, appendix C (the last layer's length is 1).
    """

    def __init__(
        self, in_features: int, hidden: int = 2048, bottleneck: int = 256, out_features: int = 4096, layers: int = 3
    ) -> None:
        super().__init__()
        if min(layers, hidden, bottleneck, out_features) < 1:
            raise ValueError(
                f"layers={layers}, hidden={hidden}, bottleneck={bottleneck} and out_features={out_features} must be at least 1"
            )
        widths = [in_features, *[hidden] * (layers - 1), bottleneck]
        steps: list[nn.Module] = []
        for first, second in pairwise(widths):
            steps += [nn.Linear(first, second), nn.GELU()]
        self.mlp = nn.Sequential(*steps[:-1])
        for layer in self.mlp:
            if isinstance(layer, nn.Linear):
                nn.init.trunc_normal_(layer.weight, std=0.02)
                nn.init.zeros_(layer.bias)
        self.prototypes = nn.Parameter(torch.randn(out_features, bottleneck))
        self.out_features = out_features

    def forward(self, embedding: Tensor) -> Tensor:
        return linear(normalize(self.mlp(embedding)), normalize(self.prototypes))
