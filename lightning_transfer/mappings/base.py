"""What all label mappings share."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from lightning_transfer.parts import Part


class LabelMapping(Part, nn.Module, ABC):
    """Source logits (B, S) to target logits (B, K); what it knows lies in buffers or parameters, made by `build`."""

    @abstractmethod
    def build(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> None:
        """Make buffers and parameters, once."""

    @abstractmethod
    def forward(self, logits: Tensor) -> Tensor: ...

    def observe(self, logits: Tensor, target: Tensor) -> None:  # most mappings do not count
        """See the source's logits of a training step, without gradient."""

    def refit(self) -> None:  # most mappings do not count
        """Make the mapping anew of what was observed."""
