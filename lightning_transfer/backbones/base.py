"""What every backbone offers, and the way from a name or a plain module to a backbone."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from lightning_transfer.contracts import Features
from lightning_transfer.parts import Part


class Backbone(Part, nn.Module, ABC):
    """Turns images in [0, 1] into features; normalisation is its own business.

    Attributes:
        num_features: D, the width of the embedding.
    """

    num_features: int

    @abstractmethod
    def forward(self, image: Tensor) -> Features: ...

    def stages(self, coarse: bool = True) -> dict[str, int]:
        """Stage of every parameter by its name, 0 at the images; one stage where a network does not say.

        Args:
            coarse: stages as the architecture names them, rather than single layers.
        """
        return {name: 0 for name, _ in self.named_parameters()}

    def no_weight_decay(self) -> set[str]:
        """Names of parameters that are not to be decayed, beside norms and biases; position embeddings for example."""
        return set()

    def set_image_size(self, image_size: int) -> None:  # most backbones take any size
        """Adapt to square images of this side in pixels, before training or loading weights."""


class ModuleBackbone(Backbone):
    """A network of the user's own, given as it is: it sees images in [0, 1] and returns one vector an image.

    Args:
        module: (B, C, H, W) to (B, D).
        num_features: D; read from the module's attribute of that name if not given.

    Raises:
        ValueError: if D is neither given nor an attribute.
    """

    def __init__(self, module: nn.Module, num_features: int | None = None) -> None:
        super().__init__()
        width = num_features or getattr(module, "num_features", None)
        if not isinstance(width, int):
            raise ValueError(
                f"backbone={type(module).__name__} has no attribute num_features, the width of what it returns; "
                "set it, or pass ModuleBackbone(module, num_features=...)"
            )
        self.module = module
        self.num_features = width

    def forward(self, image: Tensor) -> Features:
        embedding = self.module(image)
        return embedding if isinstance(embedding, Features) else Features(embedding)


def as_backbone(backbone: nn.Module | str, image_size: int | None = None) -> Backbone:
    """Make a backbone of a timm name, of a timm model, or of any module that states its `num_features`.

    Args:
        backbone: name, backbone or module.
        image_size: side of the images in pixels, or None where it is not known yet.
    """
    from lightning_transfer.backbones.timm import TimmBackbone

    if isinstance(backbone, str):
        built: Backbone = TimmBackbone(backbone)
    elif isinstance(backbone, Backbone):
        built = backbone
    elif hasattr(backbone, "forward_features") and hasattr(backbone, "pretrained_cfg"):
        built = TimmBackbone.of(backbone)
    else:
        built = ModuleBackbone(backbone)
    if image_size is not None:
        built.set_image_size(image_size)
    return built
