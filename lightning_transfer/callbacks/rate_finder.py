"""Finds a learning rate by raising it step by step until the loss diverges."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping
from lightning.pytorch.utilities import rank_zero_info, rank_zero_only

from lightning_transfer.callbacks.adapter_checkpoint import AdapterCheckpoint
from lightning_transfer.files import write_csv, write_picture
from lightning_transfer.parts import Part


class RateFinder(Part, Callback):
    """Runs the training with rates that grow exponentially, and suggests the one at which the loss falls fastest.

    It is the real training, with its processes, precision and accumulation; only the schedule is put aside, and nothing is validated
    or saved. All rates grow by one factor, so that head multiplier, layer decay and phases keep their ratios. The search ends after
    `steps`, or once the smoothed loss is not finite or above four times its least value. It leaves `rates.csv` and `rates.png` in the
    run's folder, and the model as the last step left it: train another one.

    Args:
        low: first value of the optimiser's `lr`, > 0.
        high: last value of it.
        steps: optimiser steps from one to the other, at least 10.
        smoothing: weight of the past in the average of the loss, in [0, 1); the average is corrected for its start at zero.

    Raises:
        ValueError: for values out of range.

    Reference:
        Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3 (range test); Howard, Gugger,
        "Fastai: A Layered API for Deep Learning", Information 2020 (its `steep`: steepest over the logarithm of the rate).

    Deviation:
        From Lightning's `LearningRateFinder`: that sets one rate for all groups, and takes the slope over the rate itself, which is
        steepest at the smallest rates. fastai's default, `valley`, halves the way from `low` down, and so depends on `low`.
    """

    def __init__(self, low: float = 1e-6, high: float = 1.0, steps: int = 100, smoothing: float = 0.9) -> None:
        if not 0 < low < high:
            raise ValueError(f"low={low} and high={high} of RateFinder must be positive, and low the smaller one")
        if steps < 10:
            raise ValueError(f"steps={steps} of RateFinder must be at least 10; 100 are common")
        if not 0 <= smoothing < 1:
            raise ValueError(f"smoothing={smoothing} of RateFinder must lie in [0, 1); 0 takes the losses as they are")
        self.low, self.high, self.steps, self.smoothing = low, high, steps, smoothing
        self.suggestion: float | None = None

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        saving = (Checkpoint, EarlyStopping, AdapterCheckpoint)
        trainer.callbacks = [c for c in trainer.callbacks if not isinstance(c, saving)]  # type: ignore[attr-defined]
        trainer.limit_val_batches = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        optimizer = trainer.optimizers[0]
        base = float(optimizer.defaults["lr"])
        if base <= 0:
            raise ValueError(
                f"lr={base} of the optimiser must be positive for RateFinder to scale the groups' rates with it"
            )
        # a schedule keeps the peak in initial_lr, and may have lowered the other one already
        self.factors = [float(group.get("initial_lr", group["lr"])) / base for group in optimizer.param_groups]
        trainer.strategy.lr_scheduler_configs = []
        loop, self.first_step = trainer.fit_loop, trainer.global_step
        loop.min_epochs, loop.max_epochs = 0, -1
        loop.epoch_loop.min_steps, loop.epoch_loop.max_steps = None, self.first_step + self.steps
        self.rows: list[dict[str, float]] = []
        self.losses: list[float] = []  # of the batches that one step accumulates
        self.average, self.best = 0.0, math.inf
        self.suggestion = None
        self._set_rates(trainer)

    def _rate(self) -> float:
        """What `lr` is at the coming step."""
        return float(self.low * (self.high / self.low) ** (len(self.rows) / (self.steps - 1)))

    def _set_rates(self, trainer: Trainer) -> None:
        for group, factor in zip(trainer.optimizers[0].param_groups, self.factors, strict=True):
            group["lr"] = self._rate() * factor

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if isinstance(outputs, dict) and "loss" in outputs:
            self.losses.append(float(trainer.strategy.reduce(outputs["loss"].detach().float(), reduce_op="mean")))
        if self.losses and trainer.global_step - self.first_step > len(self.rows):
            self._note(trainer, sum(self.losses) / len(self.losses))
            self.losses = []
            self._set_rates(trainer)  # not at the next batch's start: there others scale what they find

    def _note(self, trainer: Trainer, loss: float) -> None:
        self.average = self.smoothing * self.average + (1 - self.smoothing) * loss
        smoothed = self.average / (1 - self.smoothing ** (len(self.rows) + 1))
        if not math.isfinite(smoothed) or smoothed > 4 * self.best:
            trainer.should_stop = True
        if math.isfinite(smoothed):
            self.rows.append({"rate": self._rate(), "loss": loss, "smoothed": smoothed})
        self.best = min(self.best, smoothed)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        rates, smoothed = [row["rate"] for row in self.rows], [row["smoothed"] for row in self.rows]
        index = steepest(smoothed)
        self.suggestion = None if index is None else rates[index]
        folder = Path(trainer.default_root_dir)
        rank_zero_only(self._write)(folder)
        if self.suggestion is None:
            rank_zero_info(
                f"no rate from {self.low:g} to {self.high:g} lowers the loss ({folder / 'rates.png'}); try others: "
                "--trainer.callbacks.low and .high"
            )
        else:
            rank_zero_info(f"suggested rate ({folder / 'rates.png'}): --model.optim.optimizer.lr {self.suggestion:.2g}")

    def _write(self, folder: Path) -> None:
        if not self.rows:
            return
        write_csv(self.rows, folder / "rates.csv")
        from matplotlib.figure import Figure

        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.add_subplot(xlabel="rate (lr of the optimiser)", ylabel="training loss", xscale="log")
        rates = [row["rate"] for row in self.rows]
        axes.plot(rates, [row["loss"] for row in self.rows], ".", markersize=3, color="0.7", label="each step")
        axes.plot(rates, [row["smoothed"] for row in self.rows], label="smoothed")
        if self.suggestion is not None:
            axes.axvline(self.suggestion, linestyle="--", color="0.3", label=f"suggested: {self.suggestion:.2g}")
        smoothed = [row["smoothed"] for row in self.rows]
        axes.set_ylim(0, 1.5 * max(smoothed[0], min(smoothed)))  # the divergence would flatten everything else
        axes.legend()
        write_picture(figure, folder / "rates.png")


def steepest(losses: Sequence[float]) -> int | None:
    """Where the loss falls fastest on its way to the least one, over rates that grow by equal factors.

    The first tenth is left out, where an average is one of few losses.

    Args:
        losses: of growing rates.

    Returns:
        An index, or none if the loss falls by less than a thousandth.

    Example:
        >>> steepest([5.0, 4.9, 4.0, 2.0, 1.5, 1.4, 9.0])
        2
    """
    start = len(losses) // 10
    end = min(range(start, len(losses)), key=lambda i: losses[i], default=0)
    inner = range(start + 1, end)
    if not inner or losses[start] - losses[end] <= 1e-3 * abs(losses[start]):
        return None
    return min(inner, key=lambda i: losses[i + 1] - losses[i - 1])
