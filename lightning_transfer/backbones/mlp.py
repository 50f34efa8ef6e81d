"""Fully connected layers on pixels."""

from torch import Tensor, nn

from lightning_transfer.backbones.base import Backbone
from lightning_transfer.contracts import Features


class MLPBackbone(Backbone):
    """Hidden layers of rectified units that see all pixels of a small image in grey: the networks of the first distillations.

    Args:
        widths: units of each hidden layer.
        dropout: probability that a hidden unit is left out in training, in [0, 1).
        pixel_dropout: the same for a pixel.
        image_size: side of the images in pixels.

    Shape:
        image (B, C, image_size, image_size) in [0, 1] → embedding (B, widths[-1])

    Raises:
        ValueError: for values out of range, no layer, and images of another size.

    Reference:
        Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network", 2015, section 3.
    """

    def __init__(
        self, widths: list[int], dropout: float = 0.0, pixel_dropout: float = 0.0, image_size: int = 28
    ) -> None:
        super().__init__()
        if not widths or min(widths) < 1:
            raise ValueError(f"widths={widths} must be the units of at least one layer, each at least 1")
        for name, share in (("dropout", dropout), ("pixel_dropout", pixel_dropout)):
            if not 0 <= share < 1:
                raise ValueError(f"{name}={share} is a probability and lies in [0, 1)")
        layers: list[nn.Module] = [nn.Dropout(pixel_dropout)]
        for before, after in zip([image_size**2, *widths], widths, strict=False):
            layers += [_layer(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.layers = nn.Sequential(*layers)
        self.image_size = image_size
        self.num_features = widths[-1]

    def set_image_size(self, image_size: int) -> None:
        if image_size != self.image_size:
            self.image_size = image_size
            self.layers[1] = _layer(image_size**2, self.layers[1].out_features)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Features:
        height, width = image.shape[-2:]
        if (height, width) != (self.image_size, self.image_size):
            raise ValueError(f"MLPBackbone has image_size={self.image_size}, but the images are {height}x{width}")
        return Features(self.layers(image.mean(dim=1).flatten(1)))

    def stages(self, coarse: bool = True) -> dict[str, int]:
        linears = [name for name, layer in self.layers.named_children() if isinstance(layer, nn.Linear)]
        return {name: linears.index(name.split(".")[1]) for name, _ in self.named_parameters()}


def _layer(before: int, after: int) -> nn.Linear:
    layer = nn.Linear(before, after)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(layer.bias)
    return layer
