"""Contrast between classes: images of a class are to be found among all others."""

from collections.abc import Sequence

from torch import Tensor

from lightning_transfer.contracts import ViewLoss
from lightning_transfer.losses.pair.contrast import check_temperature, contrast


class SupCon(ViewLoss):
    """Cross-entropy of finding the images of an image's class, and its other views, among all others of the batch; every view is an anchor.

    The mean over the positives lies outside the logarithm (L_out), which the paper finds far better than inside. With one view an
    image may be the only one of its class in a batch: as an anchor it has no positive, its loss is not defined, and it is left out of
    the mean; as a zero it would make the loss of all others smaller the rarer classes are. Over several processes the batch is that of all.

    Args:
        temperature: of the cosines, > 0; the paper has 0.1. The loss is not multiplied by it.

    Shape:
        V ≥ 1 embeddings (B, D), target (B,) → scalar, in nats, ≥ 0

    Raises:
        ValueError: for a temperature that is not positive, images without a label, or a batch in which no two views are of one class.

    Reference:
        Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020, equation 2.

    Example:
        >>> from torch import eye, tensor
        >>> round(SupCon(temperature=0.5)([eye(2), eye(2)], [], tensor([0, 1])).item(), 7)
        0.2395448
    """

    needs_target = True
    least_views = 1

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = check_temperature(self, temperature)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], target: Tensor) -> Tensor:
        if target.min() < 0:
            raise ValueError("some images have no label, which SupCon needs; leave them out, or take NTXent")
        loss, anchors = contrast(student, target, self.temperature)
        if not anchors:
            raise ValueError(
                f"no two of the batch's {len(target)} images are of one class, so that none has a positive for SupCon; take a larger "
                "data.batch_size, or data.views=2"
            )
        return loss
