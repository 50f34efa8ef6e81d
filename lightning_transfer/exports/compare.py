"""Whether an export predicts what the checkpoint predicts."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from lightning_transfer.exports.base import Runner
from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.tasks import answers


class Comparison(NamedTuple):
    """What a comparison found.

    Attributes:
        images: how many images were compared.
        difference: largest absolute difference of a probability between checkpoint and export; of a value, in its deviations.
        spread: largest difference of a class's probability, or of a value, between two images, by the checkpoint: what there is to be
            got wrong.
        agreeing: images that are given the same class, or the same classes; none for regression.
        compared: probabilities or values.
        mean: of the images' largest differences.
    """

    images: int
    difference: float
    spread: float
    agreeing: int | None
    compared: str = "probabilities"
    mean: float = 0.0

    def check(self, tolerance: float, on_average: bool = False) -> None:
        """Raise unless the difference is at most `tolerance` times the spread.

        Args:
            tolerance: share of the spread.
            on_average: whether it is the images' mean that counts, or the largest of all.

        Raises:
            ValueError: saying by how much the export differs, or that the images are all alike to the model.
        """
        if self.spread == 0:
            raise ValueError(
                f"the checkpoint gives each of the {self.images} images the same {self.compared}, so the export cannot be "
                "checked; give images that are not alike (--images FOLDER)"
            )
        found = self.mean if on_average else self.difference
        if not found <= tolerance * self.spread:  # so that NaN is refused as well
            which = "on average " if on_average else ""
            raise ValueError(f"{self}, {which}more than tolerance={tolerance} of that; nothing was written")

    def __str__(self) -> str:
        said = (
            f"on {self.images} images the export's {self.compared} differ by at most {self.difference:.2g} from the checkpoint's, "
            f"by {self.mean:.2g} on average; these vary by {self.spread:.2g}"
        )
        return f"{said} deviations" if self.agreeing is None else f"{said}; the class is the same for {self.agreeing}"


@torch.no_grad()
def compare(model: Deployed, run: Runner, images: Sequence[Tensor]) -> Comparison:
    """Let checkpoint and export predict the same images.

    Args:
        model: the checkpoint's model.
        run: the export.
        images: each uint8 (3, H, W); at least one.
    """
    expected = model.comparable(torch.stack([model.reference(image) for image in images]))
    found = model.comparable(torch.cat([run(image.unsqueeze(0)) for image in images]))
    agreeing = None
    if model.task != "regression":
        agreeing = int((_decide(model, found) == _decide(model, expected)).all(dim=1).sum())
    return Comparison(
        images=len(images),
        difference=(found - expected).abs().max().item(),
        mean=(found - expected).abs().amax(dim=1).mean().item(),
        spread=(expected.amax(dim=0) - expected.amin(dim=0)).max().item(),
        agreeing=agreeing,
        compared=answers(model.task),
    )


def _decide(model: Deployed, probability: Tensor) -> Tensor:
    return probability >= 0.5 if model.task == "multi_label" else probability.argmax(dim=1, keepdim=True)
