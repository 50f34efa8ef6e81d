"""A backbone with a head that predicts numbers."""

import torch
from torch import Tensor

from lightning_transfer.backbones import Backbone
from lightning_transfer.contracts import HeadFactory, Prediction
from lightning_transfer.models.classifier import Classifier


class Regressor(Classifier):
    """Backbone, head, and a change of units: the head learns standardised targets, and predictions are in the targets' own units.

    Mean and deviation are buffers: checkpoints, merged models and exports have them.

    Args:
        backbone: image to features.
        head: made with the backbone's width and the number of targets.
        num_classes: K, the number of targets.

    Shape:
        image (B, C, H, W) in [0, 1] → targets (B, K) float32 as logits, and the backbone's features
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, backbone: Backbone, head: HeadFactory, num_classes: int) -> None:
        super().__init__(backbone, head, num_classes)
        self.register_buffer("mean", torch.zeros(num_classes))
        self.register_buffer("deviation", torch.ones(num_classes))

    def set_units(self, mean: Tensor, deviation: Tensor) -> None:
        """Learn in units of the training targets' mean and deviation, (K,) each; a target that is constant keeps its unit.

        A model that has units keeps them: its head was trained with them.
        """
        if not self.mean.any() and bool((self.deviation == 1).all()):
            self.mean.copy_(mean)
            self.deviation.copy_(torch.where(deviation > 0, deviation, 1.0))

    def standardise(self, value: Tensor) -> Tensor:
        """Targets or predictions (B, K) as the head learns them."""
        return (value.float() - self.mean) / self.deviation

    def forward(self, image: Tensor) -> Prediction:
        prediction = super().forward(image)
        return prediction._replace(logits=prediction.logits.float() * self.deviation + self.mean)
