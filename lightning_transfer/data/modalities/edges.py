"""Where brightness changes."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad
from torchvision.transforms.v2.functional import rgb_to_grayscale

from lightning_transfer.data.modalities.base import Modality

_SOBEL = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]) / 4  # a step from 0 to 1 gives 1


class Edges(Modality):
    """Strength of the edges, bright on black: the Sobel gradient's length, 1 for a straight step from black to white and above.

    Args:
        gain: > 0; what the strength is multiplied by before it is cut off at 1, so that faint edges show.

    Raises:
        ValueError: for a gain that is not positive.
    """

    def __init__(self, gain: float = 2.0) -> None:
        super().__init__()
        if not gain > 0:
            raise ValueError(f"gain={gain} must be positive; 1 shows a step from black to white as white")
        self.gain = gain

    def sense(self, picture: Tensor) -> Tensor:
        grey = pad(rgb_to_grayscale(picture)[None], (1, 1, 1, 1), mode="replicate")  # the border is no edge
        gradient = conv2d(grey, torch.stack([_SOBEL, _SOBEL.T])[:, None])
        strength: Tensor = gradient.norm(dim=1)
        return self.gain * strength.expand(3, -1, -1)
