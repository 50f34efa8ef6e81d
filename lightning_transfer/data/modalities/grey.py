"""Brightness alone."""

from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale

from lightning_transfer.data.modalities.base import Modality


class Grey(Modality):
    """Brightness (ITU-R 601: 0.299 red, 0.587 green, 0.114 blue) in three equal channels."""

    def sense(self, picture: Tensor) -> Tensor:
        grey: Tensor = rgb_to_grayscale(picture, num_output_channels=3)
        return grey
