"""The image tower of an image-text model as a backbone, to probe or to fine-tune."""

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_transfer.backbones.base import Backbone
from lightning_transfer.contracts import Features


class ImageTextBackbone(Backbone):
    """Vectors of images, in the space of the texts or as the tower gives them.

    Args:
        image_text: an `ImageTextModel`, or the path of a checkpoint of one (`.ckpt`).
        projected: whether vectors are projected and of unit length, so that texts can be compared with them; otherwise the tower's
            features, which the authors of CLIP probed. The tower of an `OpenClipModel` projects by itself, either way.

    Attributes:
        from_file: whether what it was built of knows by now what is in its file.

    Shape:
        image (B, 3, H, W) in [0, 1] → embedding (B, D), and the tower's maps

    Raises:
        FileNotFoundError, ValueError: for an image-text model that is none.
    """

    def __init__(self, image_text: nn.Module | str, projected: bool = True) -> None:
        from lightning_transfer.models.image_text_checkpoint import (  # models know of backbones
            ImageTextCheckpoint,
            as_image_text,
        )

        super().__init__()
        known = as_image_text(image_text).requires_grad_(True)
        self.init_args: dict[str, Any] = {"image_text": known, "projected": projected}
        self.from_file = isinstance(known, ImageTextCheckpoint)
        self.tower = known.backbone
        self.projected = projected
        self.projection = known.image_projection if projected else nn.Identity()
        self.num_features = known.num_features if projected else known.backbone.num_features

    def forward(self, image: Tensor) -> Features:
        features: Features = self.tower(image)
        if not self.projected:
            return features
        return features._replace(embedding=normalize(self.projection(features.embedding), dim=-1))

    def stages(self, coarse: bool = True) -> dict[str, int]:
        found = {f"tower.{name}": stage for name, stage in self.tower.stages(coarse).items()}
        last = max(found.values(), default=0) + 1
        return found | {f"projection.{name}": last for name, _ in self.projection.named_parameters()}

    def no_weight_decay(self) -> set[str]:
        return {f"tower.{name}" for name in self.tower.no_weight_decay()}

    def set_image_size(self, image_size: int) -> None:
        self.tower.set_image_size(image_size)
