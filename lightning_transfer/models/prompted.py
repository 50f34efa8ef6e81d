"""A prompt in front of a frozen source, and a label mapping behind it."""

from torch import Tensor, nn

from lightning_transfer.contracts import Prediction
from lightning_transfer.mappings import LabelMapping
from lightning_transfer.models.source import Source
from lightning_transfer.prompts import PixelPrompt

SOURCE_LOGITS = "source_logits"


class PromptedModel(nn.Module):
    """Prompt, source, mapping; the source is frozen and in evaluation mode for good.

    Args:
        source: image to a prediction of its own classes.
        prompt: image to image; none shows the source the image as it is.
        mapping: logits of the source's classes to those of the targets.

    Shape:
        image (B, 3, H, W) in [0, 1] → logits (B, K), and the source's features with its logits (B, S) as layer `source_logits`
    """

    def __init__(self, source: Source, prompt: PixelPrompt | None, mapping: LabelMapping) -> None:
        super().__init__()
        self.prompt = prompt
        self.source = source
        self.mapping = mapping
        self.freeze_source()

    def freeze_source(self) -> None:
        """Take the source out of training, whoever may have put it back."""
        self.source.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "PromptedModel":
        super().train(mode)
        self.source.eval()  # also one whose modules have no parameters, and draw
        return self

    def forward(self, image: Tensor) -> Prediction:
        asked: Prediction = self.source(image if self.prompt is None else self.prompt(image))
        features = asked.features._replace(layers={**asked.features.layers, SOURCE_LOGITS: asked.logits})
        return Prediction(self.mapping(asked.logits), features)
