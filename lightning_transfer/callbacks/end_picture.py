"""Pictures that are drawn when a training or a test is over."""

from abc import ABC, abstractmethod
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from lightning_transfer.features.extract import evaluating
from lightning_transfer.parts import Part


class EndPicture(Part, Callback, ABC):
    """Draws a split by a module in evaluation mode, in one process: validation after training, and the test."""

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw_where_there_is(trainer, pl_module, "val")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._draw_where_there_is(trainer, pl_module, "test")

    def _draw_where_there_is(self, trainer: Trainer, pl_module: LightningModule, split: str) -> None:
        data = getattr(trainer, "datamodule", None)
        if trainer.is_global_zero and self.has(data, split):
            with evaluating(pl_module):
                self.draw(trainer, pl_module, data, split)

    @abstractmethod
    def has(self, data: Any, split: str) -> bool:
        """Whether the datamodule has what is drawn."""

    @abstractmethod
    def draw(self, trainer: Trainer, pl_module: Any, data: Any, split: str) -> None:
        """Write the picture into the run's folder, and hand it to the loggers."""
