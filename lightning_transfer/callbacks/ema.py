"""An average of the weights over the last steps, which generalises better than the weights of any one step."""

from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from lightning_transfer.modules.base import TransferModule
from lightning_transfer.parts import Part


class EMA(Part, WeightAveraging):
    """Exponential moving average of weights and floating-point buffers, after each optimiser step; validation and checkpoints hold it.

    The decay rises from 0.1 to `decay` as (1 + n) / (10 + n) after n steps, so that the first weights are soon forgotten in short
    trainings. After `fit` the module holds the average. `last.ckpt` holds both, so that training can be resumed.

    Args:
        decay: weight of the average against the new weights, in [0, 1); it looks back over about 1 / (1 - decay) steps, of which a
            tenth of the training is a good choice.

    Raises:
        ValueError: for a decay outside [0, 1).

    Reference:
        Polyak, Juditsky, "Acceleration of Stochastic Approximation by Averaging", SIAM J. Control Optim. 1992; the exponential weights
        and their rise are those of TensorFlow's ExponentialMovingAverage.

    Deviation:
        From Lightning's `EMAWeightAveraging`: constants, such as frozen weights and the start of L2SP, stay as they are bit by bit
        (there 0.999 x + 0.001 x is rounded); counters of batches are copied, not averaged and cut to integers; the average exists
        from the first step on, in each training; and outside `fit` no weights are swapped, so that another module is not measured with this one's.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay={decay} must lie in [0, 1); 0.999 looks back over 1000 steps, 0.99 over 100")
        super().__init__(multi_avg_fn=self._step)
        self.decay = decay

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit" and isinstance(pl_module, TransferModule):
            pl_module.complete()  # before it is copied
        super().setup(trainer, pl_module, stage)
        if stage == "fit":
            self._latest_update_step = 0  # of an earlier training; a checkpoint sets it after this

    @torch.no_grad()
    def _step(self, average: list[Tensor], current: list[Tensor], _: Tensor) -> None:
        if not average[0].is_floating_point():
            torch._foreach_copy_(average, current)
            return
        steps = (
            self._latest_update_step
        )  # those before this one; the tensor with their number would have to leave the GPU
        # a difference times a share: nothing moves where there is no difference
        torch._foreach_lerp_(average, current, 1 - min(self.decay, (1 + steps) / (10 + steps)))

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._averages(trainer):
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._averages(trainer):
            super().on_validation_epoch_end(trainer, pl_module)

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        if trainer.state.fn == TrainerFn.FITTING:  # elsewhere the average in the state dict is all that is wanted
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def _averages(self, trainer: Trainer) -> bool:
        """Whether there is a training, and an average of at least one step; Lightning validates once before it."""
        return trainer.state.fn == TrainerFn.FITTING and self._latest_update_step > 0
