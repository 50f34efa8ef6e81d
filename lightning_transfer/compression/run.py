"""One compression of a network from beginning to end, resumable, which leaves the dense network as it is."""

from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from lightning.pytorch.utilities import rank_zero_info
from rich.progress import Progress

from lightning_transfer.compression.base import Compression
from lightning_transfer.compression.budget import Budget
from lightning_transfer.compression.calibration import CalibrationImages
from lightning_transfer.compression.kept import KeptLayers
from lightning_transfer.compression.layers import choose_layers
from lightning_transfer.compression.levels import Spent, share_out
from lightning_transfer.compression.network import CompressedLayer, Inputs, compress_network
from lightning_transfer.hashes import of_module, of_source, of_transform
from lightning_transfer.merging.batch_norm import recompute_batch_norm
from lightning_transfer.modules import TransferModule
from lightning_transfer.parts import describe


class Outcome(NamedTuple):
    """What became of a network.

    Attributes:
        module: compressed.
        layers: what became of each.
        left_out: for every other layer with a matrix of weights the reason why.
        spent: how the budget was shared out, if there was one.
    """

    module: TransferModule
    layers: list[CompressedLayer]
    left_out: dict[str, str]
    spent: Spent | None


class Run:
    """Compresses copies of one network; arguments as for the command.

    Args:
        dense: on its device, in evaluation mode, laid out.
        calibration: its images.
        targets: which layers.
        inputs: what layers see.
        gigabytes: of second moments at a time.
        budget: that layers share out, if they do.
        recompute_norms: whether statistics of batch norms are computed anew.
    """

    def __init__(
        self, dense: TransferModule, calibration: CalibrationImages, targets: str | None, inputs: Inputs, gigabytes: float,
        budget: Budget | None, recompute_norms: bool,
    ) -> None:  # fmt: skip
        self.dense = dense
        self.calibration = calibration
        self.targets = targets
        self.inputs = inputs
        self.gigabytes = gigabytes
        self.budget = budget
        self.recompute_norms = recompute_norms
        data = calibration.data
        self.settings: dict[str, Any] = {
            "targets": targets, "images": calibration.images, "inputs": inputs, "budget": describe(budget),
            "weights": of_module(dense.model), "data": of_source(data.splits()["train"]),
            "transform": of_transform(data.train_set.transform),
        }  # fmt: skip

    def check(self, compressions: Sequence[Compression]) -> None:
        """Complain now of what would be complained of later."""
        choose_layers(self.dense.model, compressions, self.targets)
        if self.budget is not None:
            self.budget.levels(compressions)

    def __call__(self, compressions: Sequence[Compression], folder: Path) -> Outcome:
        """Compress a copy.

        Args:
            compressions: what each layer goes through.
            folder: where layers are kept that are done, for a run that is broken off.
        """
        module = deepcopy(self.dense)
        choice = choose_layers(module.model, compressions, self.targets)
        left_out = ", ".join(f"{name} ({reason})" for name, reason in [*choice.left_out.items()][:5])
        rank_zero_info(f"{len(choice.layers)} layers; {len(choice.left_out)} left alone: {left_out or 'none'}")
        settings = {"compressions": describe(list(compressions)), "layers": [*choice.layers], **self.settings}
        kept, spent = KeptLayers(folder, settings), None
        with Progress() as progress:
            if self.budget is not None:
                task = progress.add_task("levels", total=len(choice.layers))
                spent = share_out(
                    self.budget, module.model, choice.layers, compressions, self.calibration, module.task, self.gigabytes, kept,
                    lambda name: progress.update(task, advance=1, description=f"levels of {name}"),
                )  # fmt: skip
            doing = progress.add_task("layers", total=len(choice.layers))
            layers = compress_network(
                module.model, choice.layers, compressions, self.calibration, self.inputs, self.gigabytes, kept,
                lambda layer: progress.update(doing, advance=1, description=layer.name), spent and spent.plans,
            )  # fmt: skip
        if self.recompute_norms:
            place = next(module.parameters()).device
            recompute_batch_norm(module.model, (batch.to(place) for batch in self.calibration))
        return Outcome(module, layers, choice.left_out, spent)
