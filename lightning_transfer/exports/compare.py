"""Whether an export predicts what the checkpoint predicts."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_transfer.exports.base import Runner
from lightning_transfer.exports.deployed import Deployed


class Comparison(NamedTuple):
    """What a comparison found.

    Attributes:
        images: how many images were compared.
        difference: largest absolute difference of a probability between checkpoint and export.
        spread: largest difference of a class's probability between two images, by the checkpoint: what there is to be got wrong.
        agreeing: images that are given the same class, or the same classes.
    """

    images: int
    difference: float
    spread: float
    agreeing: int

    def check(self, tolerance: float) -> None:
        """Raise unless the difference is at most `tolerance` times the spread.

        Raises:
            ValueError: saying by how much the export differs, or that the images are all alike to the model.
        """
        if self.spread == 0:
            raise ValueError(
                f"the checkpoint gives each of the {self.images} images the same probabilities, so the export cannot be "
                "checked; give images of several classes (--images FOLDER)"
            )
        if not self.difference <= tolerance * self.spread:  # so that NaN is refused as well
            raise ValueError(f"{self}, more than tolerance={tolerance} of that; nothing was written")

    def __str__(self) -> str:
        return (
            f"on {self.images} images the export's probabilities differ by at most {self.difference:.2g} from the checkpoint's, "
            f"which vary by {self.spread:.2g}; the class is the same for {self.agreeing}"
        )


@torch.no_grad()
def compare(model: Deployed, run: Runner, images: Sequence[Tensor]) -> Comparison:
    """Let checkpoint and export predict the same images.

    Args:
        model: the checkpoint's model.
        run: the export.
        images: each uint8 (3, H, W); at least one.
    """
    expected = torch.stack([model.reference(image) for image in images])
    found = torch.cat([run(image.unsqueeze(0)) for image in images])
    return Comparison(
        images=len(images),
        difference=(found - expected).abs().max().item(),
        spread=(expected.amax(dim=0) - expected.amin(dim=0)).max().item(),
        agreeing=int((_decide(model, found) == _decide(model, expected)).all(dim=1).sum()),
    )


def _decide(model: Deployed, probability: Tensor) -> Tensor:
    return probability >= 0.5 if model.multi_label else probability.argmax(dim=1, keepdim=True)
