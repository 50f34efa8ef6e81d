"""Measuring merged weights on named sets, and writing them as a checkpoint like any other."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Trainer
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor

from lightning_transfer.checkpoint import read_checkpoint
from lightning_transfer.data import ImageData
from lightning_transfer.data.named_sets import check_against_checkpoint, check_classes
from lightning_transfer.files import whole
from lightning_transfer.merging.arithmetic import Weights, require_alike
from lightning_transfer.merging.batch_norm import recompute_batch_norm
from lightning_transfer.modules import TransferModule

_MODEL = "model."  # so begin the names of the weights; class weights and penalties of the loss are not merged
_KEPT = (  # of a checkpoint: all but the state of a training, which merged weights have not been through
    "epoch",
    "global_step",
    "pytorch-lightning_version",
    "hparams_name",
    "hyper_parameters",
    "datamodule_hparams_name",
    "datamodule_hyper_parameters",
)


def read_models(paths: Sequence[str]) -> dict[str, Weights]:
    """Read the weights of checkpoints that can be merged.

    Args:
        paths: at least one checkpoint written by fit.

    Returns:
        The models' weights by path.

    Raises:
        FileNotFoundError, ValueError: for files that are no checkpoints, models of unlike architecture, or other classes.
    """
    if not paths:
        raise ValueError("there is no checkpoint to merge; give at least one path")
    checkpoints = {str(path): read_checkpoint(path) for path in paths}
    classes = {path: checkpoint["hyper_parameters"].get("class_names") for path, checkpoint in checkpoints.items()}
    for path, names in classes.items():
        if names != classes[str(paths[0])]:
            raise ValueError(
                f"{path} knows other classes than {paths[0]}, or in another order; their heads cannot be merged"
            )
    models = {path: _weights(checkpoint["state_dict"]) for path, checkpoint in checkpoints.items()}
    require_alike(models)
    return models


class Evaluator:
    """Measures weights of one architecture by Lightning's own validation and test.

    Args:
        ckpt_path: checkpoint that gives the module, and whatever is not given here.
        data: brings training and validation images; the checkpoint's own if not given.
        test_sets: further data whose test split is measured, by name, with `data`'s classes and prepared like its images.
        metric: name of the metric that models are chosen by, higher is better.

    Raises:
        FileNotFoundError, ValueError: for a file that is no checkpoint, a checkpoint without data, data with other classes, or a
            metric that the module does not measure or that is better when lower.
    """

    def __init__(
        self,
        ckpt_path: str,
        data: ImageData | None = None,
        test_sets: dict[str, ImageData] | None = None,
        metric: str = "accuracy",
    ) -> None:
        self.checkpoint = read_checkpoint(ckpt_path)
        self.module: TransferModule = TransferModule.load_from_checkpoint(ckpt_path, map_location="cpu")
        self.data = data or ImageData.load_from_checkpoint(ckpt_path)
        self.data.add_test_sets(test_sets or {})
        self.metric = metric
        self.trainer = Trainer(
            accelerator="auto", devices=1, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        self._check()

    def _check(self) -> None:
        measured: Any = self.module.val_metrics
        better = [name for name in measured.keys(keep_base=True) if measured[name].higher_is_better]
        if self.metric not in better:
            raise ValueError(
                f"metric={self.metric!r} cannot choose a model; those that are better when higher: {', '.join(better)}"
            )
        check_against_checkpoint(self.data, self.module.class_names)
        check_classes(self.data.test_sets, self.data.class_names)

    def validate(self, weights: Weights) -> dict[str, float]:
        """Measure weights on the validation split: `val/METRIC` for each metric."""
        self._load(weights)
        (measured,) = self.trainer.validate(self.module, self.data, verbose=False)
        return dict(measured)

    def score(self, weights: Weights) -> float:
        """Measure weights by the metric that models are chosen by."""
        return self.validate(weights)[f"val/{self.metric}"]

    def test(self, weights: Weights) -> dict[str, float]:
        """Measure weights on the test split and all further sets: `test/METRIC` and `SET/METRIC` for each metric."""
        self._load(weights)
        measured = self.trainer.test(self.module, self.data, verbose=False)
        return {key: value for of_one_set in measured for key, value in of_one_set.items()}

    def with_batch_norm(self, weights: Weights) -> dict[str, Tensor]:
        """Compute batch-norm statistics for weights, from the training images as training sees them, the same on each call."""
        self._load(weights)
        device = self.trainer.strategy.root_device
        # laid out as validation leaves it: otherwise the first call would differ from later ones in the last bit
        self.module.to(device).model.to(memory_format=self.module.memory_format)
        with isolate_rng():
            torch.manual_seed(0)
            self.data.prepare_data()
            self.data.setup("fit")
            recompute_batch_norm(self.module, self._training_images())
        self.module.cpu()
        return {name: tensor.clone() for name, tensor in _weights(self.module.state_dict()).items()}

    def _training_images(self) -> Iterator[Tensor]:
        for batch in self.data.train_dataloader():
            yield self.module.augment(batch._replace(image=batch.image.to(self.module.device))).image

    def write(self, weights: Weights, path: Path) -> None:
        """Write weights as a checkpoint that `test`, `predict` and `load_from_checkpoint` take."""
        checkpoint = {key: self.checkpoint[key] for key in _KEPT if key in self.checkpoint}
        others = {k: v.clone() for k, v in self.checkpoint["state_dict"].items() if not k.startswith(_MODEL)}
        checkpoint["state_dict"] = {**weights, **others}
        with whole(path) as partial:
            torch.save(checkpoint, partial)

    def _load(self, weights: Weights) -> None:
        self.module.load_state_dict({**self.module.state_dict(), **weights})


def _weights(state_dict: Weights) -> Weights:
    return {name: tensor for name, tensor in state_dict.items() if name.startswith(_MODEL)}
