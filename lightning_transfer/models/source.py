"""A pretrained network as it was published, with its own classes."""

from typing import Any

from torch import Tensor, nn

from lightning_transfer.backbones.timm import create_timm, statistics
from lightning_transfer.backbones.weights import load_weights
from lightning_transfer.contracts import Features, Prediction


class SourceModel(nn.Module):
    """A timm model with its classifier, behind its own normalisation.

    Args:
        name: timm's.
        pretrained: as for `TimmBackbone`.
        options: further arguments of `timm.create_model`.

    Shape:
        image (B, 3, H, W) in [0, 1] → logits (B, K), embedding (B, D), one map

    Raises:
        ValueError: for a name that timm does not know, or weights that do not fit.
        FileNotFoundError: for weights that cannot be had.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, pretrained: bool | str = True, options: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.model: Any = create_timm(name, options or {})
        load_weights(self.model, name, pretrained, options or {})
        for statistic, value in statistics(self.model).items():
            self.register_buffer(statistic, value, persistent=False)

    def forward(self, image: Tensor) -> Prediction:
        maps = self.model.forward_features((image - self.mean) / self.std)
        embedding = self.model.forward_head(maps, pre_logits=True)
        return Prediction(self.model.forward_head(maps), Features(embedding, (maps,)))
