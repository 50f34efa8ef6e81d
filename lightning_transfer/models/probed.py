"""An encoder that is watched by a probe."""

from torch import Tensor

from lightning_transfer.contracts import Prediction
from lightning_transfer.models.classifier import Classifier


class ProbedEncoder(Classifier):
    """Backbone, then a head that learns from its embedding without a gradient to the backbone.

    Args:
        backbone, head, num_classes: as for `Classifier`.

    Shape:
        image (B, C, H, W) in [0, 1] → logits (B, K) and the backbone's features
    """

    def forward(self, image: Tensor) -> Prediction:
        features = self.backbone(image)
        return Prediction(self.head(features.embedding.detach()), features)
