"""A frozen image-text model as a classifier, and what adapts it."""

from torch import Tensor, nn

from lightning_transfer.adapters.base import ImageTextAdapter
from lightning_transfer.contracts import Features, Prediction
from lightning_transfer.models.image_text import ImageTextModel


class ZeroShotModel(nn.Module):
    """Image-text model, then adapter; the former is frozen and in evaluation mode for good.

    Args:
        image_text: images and texts to vectors.
        adapter: vectors of images to logits, built.

    Shape:
        image (B, 3, H, W) in [0, 1] → logits (B, K), and the image's vector (B, D) of unit length
    """

    def __init__(self, image_text: ImageTextModel, adapter: ImageTextAdapter) -> None:
        super().__init__()
        self.image_text = image_text
        self.adapter = adapter
        self.freeze()

    def freeze(self) -> None:
        """Take the image-text model out of training, whoever may have put it back."""
        self.image_text.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "ZeroShotModel":
        super().train(mode)
        self.image_text.eval()  # also what has no parameters, and draws
        return self

    def forward(self, image: Tensor) -> Prediction:
        embedding = self.image_text.encode_image(image)
        return Prediction(self.adapter(embedding, self.image_text), Features(embedding))
