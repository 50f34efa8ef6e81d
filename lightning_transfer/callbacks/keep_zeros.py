"""Training a pruned network without its zeros coming back, and pruning it while it trains."""

from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from lightning_transfer.compression import Magnitude, Unstructured
from lightning_transfer.compression.layers import choose_layers
from lightning_transfer.compression.rows import set_rows, weight_rows
from lightning_transfer.parts import Part


class KeepZeros(Part, Callback):
    """Matrices of weights keep the zeros that they have when training begins: those of a pruned checkpoint that it starts from.

    Gradients of zeros are zero before they are clipped or reach the optimiser, and weights are set to zero again after each step, for
    what the optimiser makes of nothing. A matrix that is zero throughout, as a LoRA begins, is none that was pruned. `train/sparsity` is
    the share of zeros in the pruned matrices, counted after each epoch. A resumed training finds its zeros in the weights.

    Raises:
        ValueError: before the first step, if no matrix that trains has a zero.

    Reference:
        Han, Pool, Tran, Dally, "Learning both Weights and Connections for Efficient Neural Networks", NeurIPS 2015.
    """

    def __init__(self) -> None:
        self.zeros: dict[str, Tensor] = {}
        self._hooks: list[Any] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self.find(pl_module)
        if not self.zeros:
            raise ValueError(
                "KeepZeros found no zero in the weights that train; start from a pruned checkpoint: --model.edits+=StartFrom "
                "--model.edits.ckpt_path=FILE, which lightning-transfer compress writes"
            )
        self._watch(trainer, pl_module)

    def find(self, pl_module: LightningModule) -> None:
        """Note where the matrices that train are zero."""
        found = {name: (p == 0) for name, p in pl_module.named_parameters() if p.requires_grad and p.ndim > 1}
        self.zeros = {name: zeros for name, zeros in found.items() if zeros.any() and not zeros.all()}

    def _watch(self, trainer: Trainer, pl_module: LightningModule) -> None:
        def after_step(*_: Any) -> None:
            self.apply(pl_module)

        self._hooks = [_bare(optimizer).register_step_post_hook(after_step) for optimizer in trainer.optimizers]

    @torch.no_grad()
    def apply(self, pl_module: LightningModule) -> None:
        """Set the weights to zero again."""
        for name, zeros in self.zeros.items():
            pl_module.get_parameter(name).masked_fill_(zeros, 0)

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        for name, zeros in self.zeros.items():
            gradient = pl_module.get_parameter(name).grad
            if gradient is not None:
                gradient.masked_fill_(zeros, 0)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        weights = [pl_module.get_parameter(name) for name in self.zeros]
        if weights:
            share = sum(int((weight == 0).sum()) for weight in weights) / sum(weight.numel() for weight in weights)
            pl_module.log("train/sparsity", share)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._stop()

    def _stop(self) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self.zeros = [], {}


class GradualPruning(KeepZeros):
    """Prune by magnitude while the network trains, fast at first and slower the fewer weights are left, and keep the zeros.

    After a share p of the pruning time, sparsity · (1 - (1 - p)³) of the weights are zero. Layers are all linear layers and convolutions
    but the first convolution and the head.

    Args:
        sparsity: share of zeros at the end, in (0, 1).
        end: share of the training's steps after which no more are made zero, in (0, 1].
        every: steps from one pruning to the next, at least 1.
        across: whether every layer has this share, or all layers together.
        targets: regular expression that names other layers, as for `lightning-transfer compress`.

    Raises:
        ValueError: for values out of range, or if there is no layer to prune.

    Reference:
        Zhu, Gupta, "To prune, or not to prune: exploring the efficacy of pruning for model compression", 2017, equation 1.
    """

    def __init__(
        self,
        sparsity: float = 0.8,
        end: float = 0.75,
        every: int = 10,
        across: Literal["layer", "model"] = "model",
        targets: str | None = None,
    ) -> None:
        super().__init__()
        if not 0 < sparsity < 1:
            raise ValueError(f"sparsity={sparsity} of GradualPruning must lie in (0, 1); 0.8 is common")
        if not 0 < end <= 1:
            raise ValueError(f"end={end} of GradualPruning is a share of the training and lies in (0, 1]")
        if every < 1:
            raise ValueError(f"every={every} of GradualPruning must be at least 1")
        self.sparsity = sparsity
        self.end = end
        self.every = every
        self.across: Literal["layer", "model"] = across
        self.targets = targets
        Unstructured(sparsity, across)  # refuses what is neither

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        choose_layers(pl_module.model, [], self.targets)  # type: ignore[arg-type]  # says what is wrong before the first step
        self.find(pl_module)
        self._watch(trainer, pl_module)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        step = trainer.global_step
        last = max(1, round(self.end * trainer.estimated_stepping_batches))
        if step <= last and (step % self.every == 0 or step == last):
            self.prune(pl_module, self.share(step / last))

    def share(self, passed: float) -> float:
        """Sparsity after a share of the pruning time."""
        return self.sparsity * (1 - (1 - passed) ** 3)

    @torch.no_grad()
    def prune(self, pl_module: LightningModule, sparsity: float) -> None:
        """Set the least of the weights to zero, those that are zero already among them."""
        pattern = Unstructured(sparsity, self.across)
        layers = choose_layers(pl_module.model, [], self.targets).layers  # type: ignore[arg-type]
        rows = {name: weight_rows(layer) for name, layer in layers.items()}
        pruning, counts = Magnitude(pattern), pattern.counts(rows)
        for name, layer in layers.items():
            zeros = pruning.choose(rows[name], counts[name])
            set_rows(layer, rows[name].masked_fill(zeros, 0))
        self.find(pl_module)


def _bare(optimizer: Any) -> Optimizer:
    """The optimiser itself, within what Lightning wraps around it."""
    found: Optimizer = getattr(optimizer, "optimizer", optimizer)
    return found
