"""Contrast between images: the views of an image are to be found among those of all others."""

from collections.abc import Sequence

from torch import Tensor

from lightning_transfer.contracts import ViewLoss
from lightning_transfer.losses.gather import gathered
from lightning_transfer.losses.pair.contrast import check_temperature, contrast


class NTXent(ViewLoss):
    """Cross-entropy of finding the other views of an image among those of the batch; every view is an anchor (SimCLR).

    Over several processes the batch is that of all. At random it is about log(V · B - 1) with V views of B images.

    Args:
        temperature: of the cosines, > 0; the paper has 0.1 for ImageNet and 0.5 for CIFAR-10.

    Shape:
        V ≥ 2 embeddings (B, D) → scalar, in nats, ≥ 0

    Raises:
        ValueError: for a temperature that is not positive, or a batch of one image, which has nothing to be told from.

    Reference:
        Chen, Kornblith, Norouzi, Hinton, "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020, equation 1;
        with more than two views the mean over the positives is taken outside the logarithm, as in Khosla et al. 2020, equation 2.

    Example:
        >>> from torch import eye, tensor
        >>> round(NTXent(temperature=0.5)([eye(2), eye(2)], [], tensor([-1, -1])).item(), 7)
        0.2395448
    """

    def __init__(self, temperature: float = 0.1) -> None:
        super().__init__()
        self.temperature = check_temperature(self, temperature)

    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], target: Tensor) -> Tensor:
        if len(gathered(target)[0]) < 2:
            raise ValueError("a batch of one image has no negatives for NTXent; set data.batch_size to 2 or more")
        return contrast(student, None, self.temperature)[0]
