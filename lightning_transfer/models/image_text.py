"""Two towers whose vectors of an image and of its text point the same way."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_transfer.backbones.base import Backbone
from lightning_transfer.parts import Part
from lightning_transfer.text_towers.base import TextTokens, TextTower

GREATEST_SCALE = 100.0  # CLIP's


class ImageTextModel(Part, nn.Module):
    """An image tower, a text tower, a projection of each into a common space, and the scale of cosines.

    Args:
        backbone: images in [0, 1] to features.
        text_tower: tokens to vectors.
        dim: D of the common space; none leaves both towers' vectors as they are, which must be as wide as one another.
        scale: of cosines at the start; learned as its logarithm, and held to at most 100.
        bias: added to all logits at the start, and learned; none where the loss wants none.

    Shape:
        images (B, 3, H, W) in [0, 1] → (B, D), and N texts → (N, D), of unit length

    Raises:
        ValueError: for widths that do not meet.

    Reference:
        Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, section 2.3; Zhai, Mustafa,
        Kolesnikov, Beyer, "Sigmoid Loss for Language Image Pre-Training", ICCV 2023 (the bias).
    """

    def __init__(
        self,
        backbone: Backbone,
        text_tower: TextTower,
        dim: int | None = 256,
        scale: float = 1 / 0.07,
        bias: float | None = None,
    ) -> None:
        super().__init__()
        widths = backbone.num_features, text_tower.num_features
        if dim is None and widths[0] != widths[1]:
            raise ValueError(
                f"the image tower's vectors have {widths[0]} entries and the text tower's {widths[1]}; set dim, the width that both are "
                "projected to"
            )
        self.backbone = backbone
        self.text_tower = text_tower
        self.num_features = dim or widths[0]
        self.image_projection = nn.Linear(widths[0], dim, bias=False) if dim else nn.Identity()
        self.text_projection = nn.Linear(widths[1], dim, bias=False) if dim else nn.Identity()
        self.log_scale = nn.Parameter(torch.tensor(math.log(scale)))
        self.bias = nn.Parameter(torch.tensor(float(bias))) if bias is not None else None

    def encode_image(self, image: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to vectors (B, D) of unit length."""
        return self.project_image(self.backbone(image).embedding)

    def project_image(self, embedding: Tensor) -> Tensor:
        """What the image tower makes of images, to vectors (B, D) of unit length."""
        return normalize(self.image_projection(embedding), dim=-1)

    def project_text(self, output: Tensor) -> Tensor:
        """What the text tower makes of texts, to vectors (N, D) of unit length."""
        return normalize(self.text_projection(output), dim=-1)

    def encode_tokens(self, tokens: TextTokens, entries: Tensor | None = None) -> Tensor:
        """Tokens (N, L) to vectors (N, D) of unit length; entries (N, L, W) in the place of the tokens' own, where they are given."""
        entries = self.text_tower.embed(tokens.ids) if entries is None else entries
        return self.project_text(self.text_tower.encode(entries, tokens))

    def encode_text(self, texts: Sequence[str]) -> Tensor:
        """N texts to vectors (N, D) of unit length."""
        return self.encode_tokens(self.tokenize(texts))

    def tokenize(self, texts: Sequence[str]) -> TextTokens:
        """Tokens of texts, where the weights are."""
        return TextTokens(*(part.to(self.log_scale.device) for part in self.text_tower.tokenize(texts)))

    def scale(self) -> Tensor:
        """What cosines are multiplied by, at most 100."""
        return self.log_scale.exp().clamp(max=GREATEST_SCALE)

    def logits(self, image: Tensor, text: Tensor) -> Tensor:
        """Scores (B, N) of vectors (B, D) of images and (N, D) of texts, or of each of several sets of both."""
        scores = self.scale() * image @ text.mT
        return scores if self.bias is None else scores + self.bias
