"""What every teacher keeps to: loaded late, frozen for good, and where the images are."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import nn

from lightning_transfer.contracts import Features, ImageBatch, Prediction
from lightning_transfer.parts import Part


class Teacher(Part, ABC):
    """A network that is asked and never changed.

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
        """Read or build the network and freeze it, once.

        Raises:
            FileNotFoundError, ValueError: for what cannot be had or is not what was recorded.
        """
        if self._network is None:
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

    def __deepcopy__(self, memo: dict[int, Any]) -> "Teacher":
        return self  # a moving average of the student copies the module that holds it
