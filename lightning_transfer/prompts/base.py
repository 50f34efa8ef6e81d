"""What all prompts of pixels share: which pixels they have, in which units, and how these meet the image."""

from abc import ABC, abstractmethod
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from lightning_transfer.parts import Part

Space = Literal["pixel", "normalised"]
Merge = Literal["add", "replace"]
Init = Literal["zeros", "normal", "uniform"]
Clamp = Literal["none", "image", "sigmoid"]

COLOURS = 3


class PixelPrompt(Part, nn.Module, ABC):
    """A few pixels that are learned, the same for all images; a child says which (`region`), and perhaps where the image lies (`place`).

    The module calls `build` once. What is learned is `values`, (3, M) for M pixels, in the order of rows.

    Args:
        space: units of the values. `pixel`: those of the image in [0, 1], before the source normalises it; `normalised`: standard
            deviations of the source's, as if the prompt came behind its normalisation.
        merge: whether values are added to the image, or stand in its place.
        init: values at the start: 0, drawn from N(0, 1), or evenly from [0, 1).
        clamp: `image` cuts the prompted image to [0, 1]; `sigmoid` turns values v into 1 / (1 + exp(-v)), pixels in (0, 1) that start
            from zeros at grey; `none` leaves values free.

    Shape:
        (B, 3, H, H) in [0, 1] → (B, 3, S, S), S being `output_size`

    Raises:
        ValueError: for other words, or a sigmoid of normalised values.
    """

    origin: Tensor
    unit: Tensor
    index: Tensor

    def __init__(
        self, space: Space = "pixel", merge: Merge = "add", init: Init = "zeros", clamp: Clamp = "none"
    ) -> None:
        super().__init__()
        for name, value, words in (
            ("space", space, Space),
            ("merge", merge, Merge),
            ("init", init, Init),
            ("clamp", clamp, Clamp),
        ):
            if value not in get_args(words):
                raise ValueError(f"{name}={value!r} of {type(self).__name__} must be {', '.join(get_args(words))}")
        if space == "normalised" and clamp == "sigmoid":
            raise ValueError(
                f"clamp=sigmoid of {type(self).__name__} makes pixels in (0, 1), but space=normalised counts in standard "
                "deviations; set space=pixel, or clamp=none"
            )
        self.space, self.merge, self.init, self.clamp = space, merge, init, clamp

    def build(self, image_size: int, statistics: tuple[Tensor, Tensor] | None = None) -> None:
        """Make the values, for images of one size and one source.

        Args:
            image_size: side of the images in pixels.
            statistics: mean and standard deviation, (3, 1, 1), by which the source normalises; only `space=normalised` needs them.

        Raises:
            ValueError: for images that the prompt does not fit, or statistics that are needed and not given.
        """
        if self.space == "pixel":
            statistics = torch.zeros(COLOURS, 1, 1), torch.ones(COLOURS, 1, 1)
        if statistics is None:
            raise ValueError(
                f"space=normalised of {type(self).__name__} counts in the source's standard deviation, but the source tells none; "
                "set space=pixel"
            )
        self.image_size = image_size
        self.output_size = self.size_for(image_size)
        region = self.region(self.output_size)
        for name, value in zip(("origin", "unit"), statistics, strict=True):
            self.register_buffer(name, value.clone(), persistent=False)
        self.register_buffer("index", region.flatten().nonzero().T, persistent=False)  # (1, M)
        self.values = nn.Parameter(_start(self.init, self.index.shape[1]))

    def size_for(self, image_size: int) -> int:  # most prompts leave the size as it is
        """Side of the prompted image, in pixels, for images of that side."""
        return image_size

    @abstractmethod
    def region(self, size: int) -> Tensor:
        """Which pixels of the prompted image the prompt has, (size, size) bool.

        Raises:
            ValueError: for a size that the prompt does not fit.
        """

    def place(self, image: Tensor) -> Tensor:  # most prompts leave the image where it is
        """Lay images (B, 3, H, H) into the prompted ones (B, 3, S, S), with zeros around."""
        return image

    def positions(self, batch: int) -> Tensor:  # most prompts are at one place
        """Flat numbers of the prompt's pixels, (1, M), or (B, M) where they differ from image to image."""
        return self.index

    def mask(self, positions: Tensor) -> Tensor:
        """Where the prompt stands, (1 or B, 1, S, S) in [0, 1]."""
        return self._spread(torch.ones_like(self.values[:1]), positions)

    def forward(self, image: Tensor) -> Tensor:
        if image.shape[1:] != (COLOURS, self.image_size, self.image_size):
            channels, height, width = image.shape[1:]
            raise ValueError(
                f"{type(self).__name__} was made for images of {self.image_size}x{self.image_size} pixels and {COLOURS} channels, "
                f"not {height}x{width} and {channels}"
            )
        positions = self.positions(len(image))
        mask = self.mask(positions)
        program = self._spread(self.values.sigmoid() if self.clamp == "sigmoid" else self.values, positions) * self.unit
        image = self.place(image)
        if self.merge == "add":
            prompted = image + mask * program
        else:
            prompted = (1 - mask) * image + mask * (self.origin + program)
        return prompted.clamp(0, 1) if self.clamp == "image" else prompted

    def _spread(self, values: Tensor, positions: Tensor) -> Tensor:
        """Lay values (C, M) at positions (N, M) of images that are zero elsewhere, (N, C, S, S)."""
        count, channels, size = len(positions), len(values), self.output_size
        ground = values.new_zeros(count, channels, size * size)
        where = positions[:, None].expand(-1, channels, -1)
        return ground.scatter(2, where, values.expand(count, -1, -1)).view(count, channels, size, size)


def _start(init: Init, pixels: int) -> Tensor:
    make: dict[str, Any] = {"zeros": torch.zeros, "normal": torch.randn, "uniform": torch.rand}
    values: Tensor = make[init](COLOURS, pixels)
    return values


def centred(side: int, canvas: int) -> slice:
    """The places of `side` pixels in the middle of `canvas`; an odd pixel is left over in front of them."""
    first = (canvas - side + 1) // 2
    return slice(first, first + side)


def border(side: int, canvas: int) -> Tensor:
    """All places of (canvas, canvas) but a square of `side` in the middle, bool."""
    region = torch.ones(canvas, canvas, dtype=torch.bool)
    region[centred(side, canvas), centred(side, canvas)] = False
    return region
