"""What every teacher keeps to: loaded late, frozen for good, and where the images are."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from lightning_transfer import hashes
from lightning_transfer.contracts import Features, ImageBatch, Prediction
from lightning_transfer.parts import Part
from lightning_transfer.teachers.examine import count_right


class Teacher(Part, ABC):
    """A network that is asked and never changed.

    A training calls `prepare` and `example` before it begins, `teach` in each step; whoever else asks calls `load` and the teacher.

    Attributes:
        class_names: of the logits, in their order; none where they are not known.
    """

    class_names: list[str] | None = None
    _network: nn.Module | None = None

    @property
    def network(self) -> nn.Module:
        """The network, for whoever names its layers.

        Raises:
            RuntimeError: before `load`.
        """
        if self._network is None:
            raise RuntimeError(f"{type(self).__name__}.load() comes first")
        return self._network

    def load(self) -> None:
        """Read or build the network and freeze it, once; what a training draws does not depend on it.

        Raises:
            FileNotFoundError, ValueError: for what cannot be had or is not what was recorded.
        """
        if self._network is None:
            with isolate_rng():
                self._network = self.build().eval().requires_grad_(False)

    @abstractmethod
    def build(self) -> nn.Module:
        """Make the network: images in [0, 1] to `Prediction`, or to logits (B, K)."""

    @torch.no_grad()
    def __call__(self, batch: ImageBatch) -> Prediction:
        """What the teacher says of a batch's images."""
        # every time: whoever else holds the network may have set it to train, and its batch norms must not move
        network = self.network.eval()
        weight = next(network.parameters(), batch.image)
        if weight.device != batch.image.device:
            network.to(batch.image.device)
        prediction = network(batch.image.to(weight.dtype))
        if isinstance(prediction, Prediction):
            return prediction
        return Prediction(prediction, Features(prediction.new_empty(len(batch.image), 0)))

    def parameters(self) -> Iterator[nn.Parameter]:
        """Those of the network, as far as it is loaded, which nobody else may train."""
        return self._network.parameters() if self._network is not None else iter(())

    def fingerprint(self) -> str:
        """Hash what the answers depend on, in 64 hexadecimal digits.

        Raises:
            FileNotFoundError, ValueError: as `load`.
        """
        self.load()
        return hashes.of_module(self.network)

    def prepare(self, data: Any, layers: Sequence[str], mixed: bool) -> None:
        """Get ready for a training, when the data is set up.

        Args:
            data: the datamodule, if there is one.
            layers: of the network that losses will look at.
            mixed: whether images are mixed with one another.

        Raises:
            FileNotFoundError, ValueError: for what cannot be had, is not what was recorded, or cannot serve this training.
        """
        self.load()

    def example(self, batch: ImageBatch) -> Prediction:
        """A prediction in the shapes that `teach` will hand on; its numbers need not mean anything."""
        return self(batch)

    def teach(self, batch: ImageBatch, epoch: int) -> Prediction:  # most teachers look at the images
        """What the teacher says of the training images `batch.indices`, as they are transformed in this epoch."""
        return self(batch)

    def count_right(self, batches: Iterable[ImageBatch], num_classes: int) -> Tensor:
        """Count what the teacher gets right of this process's validation batches, as `examine.count_right`."""
        return count_right(self, batches, num_classes)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Teacher":
        return self  # a moving average of the student copies the module that holds it
