"""What every label mapping offers."""

from abc import ABC, abstractmethod

from torch import Tensor, nn

from lightning_transfer.parts import Part


class LabelMapping(Part, nn.Module, ABC):
    """Scores of S source classes to scores of K target classes.

    `build` makes buffers and parameters, in which a checkpoint finds what was learned. What is learned from targets is counted by
    `observe` in each training step, and `RemapLabels` has it put into force: by a pass over the data before a training, and at the
    end of each epoch.

    Shape:
        logits (B, S) → (B, K)
    """

    @abstractmethod
    def build(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> None:
        """Make buffers and parameters, once, when the classes are known.

        Args:
            num_source: S.
            num_classes: K.
            source_names: S names, where they are known.
            class_names: K names, where they are known.

        Raises:
            ValueError: if these classes cannot be mapped.
        """

    @abstractmethod
    def forward(self, logits: Tensor) -> Tensor: ...

    def needs_data(self) -> bool:  # most mappings know all from the classes
        """Whether it is still to be estimated from the training data, before a training."""
        return False

    def observe(self, logits: Tensor, target: Tensor) -> None:  # most mappings learn nothing from targets
        """Take note of a training step, without gradient.

        Args:
            logits: (B, S) of the source.
            target: (B,) int64.

        Raises:
            ValueError: for targets that are not one class an image.
        """

    def forget(self) -> None:  # most mappings take note of nothing
        """Drop what was observed since the last `refit`."""

    def refit(self) -> None:  # most mappings stay as they are
        """Learn from what all processes observed since the last time; all of them call it."""
