"""A backbone with a head on it."""

from torch import Tensor, nn

from lightning_transfer.backbones import Backbone
from lightning_transfer.contracts import HeadFactory, Prediction


class Classifier(nn.Module):
    """Backbone, then head.

    Args:
        backbone: image to features.
        head: made with the backbone's width and the number of classes.
        num_classes: K.

    Shape:
        image (B, C, H, W) in [0, 1] → logits (B, K) and the backbone's features
    """

    def __init__(self, backbone: Backbone, head: HeadFactory, num_classes: int) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head(backbone.num_features, num_classes)

    def forward(self, image: Tensor) -> Prediction:
        features = self.backbone(image)
        return Prediction(self.head(features.embedding), features)
