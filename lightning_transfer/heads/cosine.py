"""A classifier by angle."""

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, normalize

from lightning_transfer.parts import Part


class CosineHead(Part, nn.Module):
    """Cosine of embedding and class weight, times a learned scale: lengths of embeddings cannot favour a class.

    Args:
        in_features: D.
        num_classes: K.
        scale: initial factor on cosines, > 0.

    Shape:
        (B, D) → (B, K), each logit in [-scale, scale]

    Raises:
        ValueError: for a scale that is not positive.

    Reference:
        Gidaris, Komodakis, "Dynamic Few-Shot Visual Learning without Forgetting", CVPR 2018, section 3.2.
    """

    def __init__(self, in_features: int, num_classes: int, scale: float = 10.0) -> None:
        super().__init__()
        if scale <= 0:
            raise ValueError(f"scale={scale} must be positive; 10 is common")
        self.weight = nn.Parameter(torch.randn(num_classes, in_features) / in_features**0.5)
        self.scale = nn.Parameter(torch.tensor(float(scale)))

    def forward(self, embedding: Tensor) -> Tensor:
        return self.scale * linear(normalize(embedding, dim=-1), normalize(self.weight, dim=-1))
