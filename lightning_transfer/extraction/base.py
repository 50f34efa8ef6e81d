"""What every extraction offers."""

from abc import ABC, abstractmethod

from lightning_transfer.parts import Part


class Extraction(Part, ABC):
    """Finds the answer in what a model said."""

    @abstractmethod
    def __call__(self, text: str) -> str | None:
        """The answer, or none."""
