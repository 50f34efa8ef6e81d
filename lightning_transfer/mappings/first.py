"""The first source classes stand for the targets."""

from torch import Tensor

from lightning_transfer.mappings.base import LabelMapping


class FirstMapping(LabelMapping):
    """Source class k stands for target k.

    Raises:
        ValueError: at `build`, for more targets than source classes.
    """

    def build(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> None:
        if num_classes > num_source:
            raise ValueError(f"num_classes={num_classes} is more than the {num_source} classes of the source")
        self.num_classes = num_classes

    def forward(self, logits: Tensor) -> Tensor:
        return logits[:, : self.num_classes]
