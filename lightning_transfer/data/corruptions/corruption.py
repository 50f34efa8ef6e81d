"""One corruption at one severity."""

import difflib

import torch
from torch import Tensor, nn
from torchvision.transforms.v2.functional import to_dtype

from lightning_transfer.data.corruptions.blur import BLURS
from lightning_transfer.data.corruptions.digital import DIGITAL
from lightning_transfer.data.corruptions.noise import NOISES, Table
from lightning_transfer.data.corruptions.weather import WEATHER
from lightning_transfer.parts import Part

CORRUPTIONS: Table = {**NOISES, **BLURS, **WEATHER, **DIGITAL}


class Corruption(Part, nn.Module):
    """A corruption of ImageNet-C; its draws depend on seed and index of the image alone, so that every model meets the same images.

    Args:
        name: such as gaussian_noise, shot_noise, impulse_noise, defocus_blur, motion_blur, zoom_blur, snow, fog, brightness, contrast,
            elastic_transform, pixelate, jpeg_compression; or of its extra ones speckle_noise, gaussian_blur, saturate.
        severity: 1 (mild) to 5 (hard).
        seed: of the draws.

    Shape:
        uint8 or float in [0, 1] (3, H, W) to float32 in [0, 1] of the same shape.

    Raises:
        ValueError: for another name or severity.

    Reference:
        Hendrycks, Dietterich, "Benchmarking neural network robustness to common corruptions and perturbations", ICLR 2019; the
        constants are those of its code for images of 224 pixels.

    Deviation:
        Lengths (radii, displacements, flakes) are the same share of the image's side at any size. Results are neither rounded to 8
        bits nor saved as JPEG of quality 85, as the files of ImageNet-C are. Discs are anti-aliased, so that small images have them
        too, instead of blurred afterwards, which cuts off the larger ones and brightens the image by 1 %. Frost (which needs
        photographs), glass_blur and spatter are left out.
    """

    def __init__(self, name: str, severity: int = 3, seed: int = 0) -> None:
        super().__init__()
        if name not in CORRUPTIONS:
            near = difflib.get_close_matches(name, CORRUPTIONS, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(CORRUPTIONS)}"
            raise ValueError(f"corruption name={name!r} is unknown; {hint}")
        if severity not in (1, 2, 3, 4, 5):
            raise ValueError(f"severity={severity} of {name} must be 1 (mild), 2, 3, 4 or 5 (hard)")
        self.name, self.severity, self.seed = name, severity, seed
        self.corrupt, constants = CORRUPTIONS[name]
        self.constant = constants[severity - 1]

    @property
    def label(self) -> str:
        """What its figures are logged under: `fog_3`."""
        return f"{self.name}_{self.severity}"

    def forward(self, image: Tensor) -> Tensor:
        corrupted: Tensor = self.corrupt(to_dtype(image, torch.float32, scale=True), self.constant)
        return corrupted.clamp(0, 1)
