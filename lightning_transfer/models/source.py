"""Pretrained networks as they are, with their own classes."""

from abc import ABC, abstractmethod
from typing import Any

from torch import Tensor, nn

from lightning_transfer.backbones.timm import adapt_to_size, create_timm, statistics
from lightning_transfer.backbones.weights import load_weights
from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.contracts import Features, Prediction
from lightning_transfer.parts import Part


class Source(Part, nn.Module, ABC):
    """A network that knows classes of its own; normalisation is its own business.

    Attributes:
        num_classes: S, of the source.
        class_names: S names in the order of the logits; none where they are not known.

    Shape:
        image (B, C, H, W) in [0, 1] → logits (B, S) and features
    """

    num_classes: int
    class_names: list[str] | None = None

    @abstractmethod
    def forward(self, image: Tensor) -> Prediction: ...

    def statistics(self) -> tuple[Tensor, Tensor] | None:  # not every network says
        """Mean and standard deviation, (C, 1, 1), by which it normalises images."""
        return None

    def set_image_size(self, image_size: int) -> None:  # most networks take any size
        """Adapt to square images of this side in pixels, before training or loading weights."""

    def name_targets(self, class_names: list[str] | None) -> None:  # most networks know their classes by themselves
        """Hear what the target classes are called, before any mapping is made."""


class SourceModel(Source):
    """A timm model with its classifier, behind its own normalisation.

    Args:
        name: timm's.
        pretrained: as for `TimmBackbone`.
        options: further arguments of `timm.create_model`.

    Shape:
        image (B, 3, H, W) in [0, 1] → logits (B, S), embedding (B, D), one map

    Raises:
        ValueError: for a name that timm does not know, or weights that do not fit.
        FileNotFoundError: for weights that cannot be had.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, name: str, pretrained: bool | str = True, options: dict[str, Any] | None = None) -> None:
        super().__init__()
        self.model: Any = create_timm(name, options or {})
        if not expects_checkpoint():
            load_weights(self.model, name, pretrained, options or {})
        self.num_classes = self.model.num_classes  # type: ignore[assignment]  # a number in all of timm
        self.class_names = _published_names(self.model)
        for statistic, value in statistics(self.model).items():
            self.register_buffer(statistic, value, persistent=False)

    def forward(self, image: Tensor) -> Prediction:
        maps = self.model.forward_features((image - self.mean) / self.std)
        embedding = self.model.forward_head(maps, pre_logits=True)
        return Prediction(self.model.forward_head(maps), Features(embedding, (maps,)))

    def statistics(self) -> tuple[Tensor, Tensor]:
        return self.mean, self.std

    def set_image_size(self, image_size: int) -> None:
        adapt_to_size(self.model, image_size)


class ModuleSource(Source):
    """A network of the user's own: images in [0, 1] to logits (B, S) or a `Prediction`, and nothing else is asked of it.

    Args:
        module: the network.
        num_classes: S; read from the module's attribute of that name if not given.
        class_names: S names in the order of the logits.

    Raises:
        ValueError: if S is neither given nor an attribute, or names and S differ.
    """

    def __init__(self, module: nn.Module, num_classes: int | None = None, class_names: list[str] | None = None) -> None:
        super().__init__()
        number = num_classes or getattr(module, "num_classes", None)
        if not isinstance(number, int):
            raise ValueError(
                f"source={type(module).__name__} has no attribute num_classes, the number of its logits; "
                "set it, or pass ModuleSource(module, num_classes=...)"
            )
        if class_names is not None and len(class_names) != number:
            raise ValueError(f"num_classes={number} of the source, but class_names has {len(class_names)}")
        self.module = module
        self.num_classes = number
        self.class_names = class_names or getattr(module, "class_names", None)

    def forward(self, image: Tensor) -> Prediction:
        answer = self.module(image)
        if isinstance(answer, Prediction):
            return answer
        return Prediction(answer, Features(answer.new_empty(len(answer), 0)))


def as_source(source: nn.Module | str) -> Source:
    """Make a source of a timm name, of a checkpoint of this package (`.ckpt`), or of any module that states its `num_classes`."""
    from lightning_transfer.models.checkpoint_source import CheckpointSource

    if isinstance(source, str):
        return CheckpointSource(source) if source.endswith(".ckpt") else SourceModel(source)
    return source if isinstance(source, Source) else ModuleSource(source)


def _published_names(model: nn.Module) -> list[str] | None:
    """Names of the classes that a model of timm was published with: its own, or ImageNet-1k's."""
    from timm.data.imagenet_info import ImageNetInfo

    config: Any = model.pretrained_cfg
    names = config.get("label_names")
    if names is None and config["num_classes"] == 1000:
        names = ImageNetInfo("imagenet-1k").label_descriptions()
    return list(names) if names is not None and len(names) == model.num_classes else None
