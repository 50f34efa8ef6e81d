"""What every adapter of an image-text model offers."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from torch import Tensor, nn

from lightning_transfer.data import ImageData
from lightning_transfer.parts import Part

if TYPE_CHECKING:
    from lightning_transfer.models.image_text import ImageTextModel


class ImageTextAdapter(Part, nn.Module, ABC):
    """Turns vectors of images into logits of classes that are known by their words; all that is learned is its own.

    The image-text model is handed in at each call, for it belongs to whoever has the adapter, and is frozen.

    Attributes:
        reads_templates: whether words are put into templates; otherwise none may be given.

    Shape:
        vectors (B, D) of unit length → logits (B, K)
    """

    reads_templates: ClassVar[bool] = True

    @abstractmethod
    def build(self, model: "ImageTextModel", words: Sequence[str], templates: Sequence[str]) -> None:
        """Make parameters and buffers, once, when the words are known.

        Args:
            model: whose texts they are.
            words: K, what the classes are called.
            templates: sentences around them.

        Raises:
            ValueError: for words that cannot be read.
        """

    @abstractmethod
    def forward(self, embedding: Tensor, model: "ImageTextModel") -> Tensor: ...

    def prepare(self, model: "ImageTextModel", data: ImageData | None) -> None:  # most learn by training alone
        """Take what is wanted of the data at the start of a training, when model and adapter are where they compute.

        Args:
            model: to see the images by.
            data: set up for a training; none where batches come from elsewhere.

        Raises:
            ValueError: for data that does not do.
        """

    def choose(self, model: "ImageTextModel") -> None:  # most have nothing to choose
        """Choose by the validation images, after the training steps of an epoch and before its validation."""
