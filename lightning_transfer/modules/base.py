"""The step that all modules share: loss, log, metrics, optimiser, prediction and loading are written here, once."""

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.callbacks import ModelSummary
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from torch import Tensor, nn
from torch.optim import SGD
from torchmetrics import MetricCollection

from lightning_transfer.checkpoint import (
    check_hyperparameters,
    import_class,
    read_checkpoint,
    save_init_args,
    weights_from_checkpoint,
)
from lightning_transfer.contracts import ImageBatch, Prediction, StepOutput
from lightning_transfer.data.episodes import EpisodeData
from lightning_transfer.data.text import TextData
from lightning_transfer.edits.freeze import keep_frozen_in_eval
from lightning_transfer.edits.narrow_channels import recorded
from lightning_transfer.optim import Optim, group_table
from lightning_transfer.parts import Part, describe
from lightning_transfer.seeds import derived_seed, run_seed
from lightning_transfer.tasks import Task, answer


class TransferModule(Part, LightningModule, ABC):
    """Base of all modules; a child builds `self.model` and writes `step`.

    Args:
        num_classes: K.
        class_names: K names in the order of the logits; the checkpoint carries them to whoever predicts.
        image_size: side of the images in pixels, where it is known.
        task: what the targets are.
        optim: optimiser, schedule and groups.
        metrics: compares logits with targets in validation and test.
        channels_last: whether images and weights are laid out with channels last in memory.
        compile: whether the model is compiled by `torch.compile`.

    Raises:
        ValueError: if names and number of classes differ.
    """

    model: nn.Module
    _nothing: Tensor | None = None  # see `train_without_weights`
    textual: bool = False  # whether batches are texts
    episodic: bool = False  # whether batches of validation, test and prediction are episodes
    adapted: tuple[str, ...] = ()  # beginnings of the names of what `AdapterCheckpoint` writes even if it did not move

    def __init__(
        self,
        num_classes: int,
        class_names: list[str] | None,
        image_size: int | None,
        task: Task,
        optim: Optim,
        metrics: MetricCollection,
        channels_last: bool,
        compile: bool,  # noqa: A002  # torch's own word
    ) -> None:
        super().__init__()
        save_init_args(self)
        if num_classes < 1:
            raise ValueError(f"num_classes={num_classes} must be at least 1")
        if class_names is not None and len(class_names) != num_classes:
            raise ValueError(f"num_classes={num_classes}, but class_names has {len(class_names)}: {class_names[:5]}")
        self.num_classes = num_classes
        self.class_names = class_names
        self.image_size = image_size
        self.task = task
        self.optim = optim
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.compile_model = compile
        self._accepted: torch.Size | None = None  # shape of an image that the model was seen to take
        self.val_metrics = metrics.clone(prefix="val/")
        self.test_metrics = nn.ModuleList([metrics.clone(prefix="test/")])  # one a test set, see `on_test_start`

    @abstractmethod
    def step(self, batch: ImageBatch) -> StepOutput:
        """Compute the loss of a batch, its terms, and what the metrics compare."""

    def augment(self, batch: ImageBatch) -> ImageBatch:  # most modules train on what the data gives them
        """Change a training batch as a whole, on its device; validation, test and prediction see batches as they come."""
        return batch

    def regularise(self, output: StepOutput) -> StepOutput:  # most modules train by what they are measured by
        """Add to the loss of a training step what validation and test leave out, and to its terms."""
        return output

    def forward(self, image: Tensor) -> Prediction:
        prediction: Prediction = self.model(image.contiguous(memory_format=self.memory_format))
        return prediction

    def test_logits(self, image: Tensor) -> Tensor:  # most modules look at an image once
        """Scores (B, K) of images, as test, prediction and reports find them."""
        logits: Tensor = self(image).logits
        return logits

    def train(self, mode: bool = True) -> "TransferModule":
        super().train(mode)
        if mode and hasattr(self, "model"):
            keep_frozen_in_eval(self.model)
        return self

    def complete(self) -> None:  # most modules are whole when they are made
        """Make what depends on the data, once; before a training, when the data is set up and nothing has copied the module yet."""

    def learners(self) -> nn.Module:  # most modules train nothing but their model
        """What the optimiser is given the trainable parameters of: parts named `backbone` and `head`, and others."""
        return self.model

    def setup(self, stage: str) -> None:
        _check_data(getattr(self._trainer, "datamodule", None), self)
        if stage == "fit":
            self.complete()
        self.model.to(memory_format=self.memory_format)
        if self.compile_model and stage == "fit":
            self.model.compile()

    def on_train_batch_start(self, batch: ImageBatch, batch_idx: int) -> None:
        # What an epoch draws (dropout, mixing) depends on seed and epoch, so that a resumed training draws the same. Not at the
        # epoch's start: after that the loader still draws a number, unless the training was resumed.
        if batch_idx == 0 and "PL_GLOBAL_SEED" in os.environ:
            torch.manual_seed(derived_seed(run_seed(), self.current_epoch, self.global_rank))

    def training_step(self, batch: ImageBatch, batch_idx: int) -> Tensor:
        if batch_idx == 0:
            self._check(batch)
        output = self.regularise(self.step(self.augment(batch)))
        size = self._count(batch)
        every: int = self.trainer.log_every_n_steps  # type: ignore[attr-defined]  # set by its logger connector; 0: never
        if every and (self.trainer.global_step + 1) % every == 0:  # Lightning drops the others, which are not free
            self.log("train/loss_step", output.loss, on_step=True, on_epoch=False, batch_size=size)
        values = {"train/loss": output.loss, **{f"train/{name}": term for name, term in output.terms.items()}}
        self.log_dict(values, on_step=False, on_epoch=True, sync_dist=True, batch_size=size)
        return output.loss

    def _count(self, batch: ImageBatch) -> Any:
        """What a batch weighs in means over an epoch: a float, for an integer's mean over processes is rounded down."""
        return float(len(batch.image))

    def validation_step(self, batch: ImageBatch, batch_idx: int) -> None:
        self._evaluate(batch, batch_idx, self.val_metrics)

    def on_test_start(self) -> None:
        loaders = self.trainer.test_dataloaders
        # unnamed sets in a list are test, test_1, test_2, ...
        names = list(loaders) if isinstance(loaders, Mapping) else ["test"]
        if isinstance(loaders, Sequence):
            names += [f"test_{i}" for i in range(1, len(loaders))]
        first: MetricCollection = self.test_metrics[0]  # type: ignore[assignment]
        self.test_metrics = nn.ModuleList([first.clone(prefix=f"{name}/") for name in names]).to(self.device)

    def test_step(self, batch: ImageBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._evaluate(batch, batch_idx, self.test_metrics[dataloader_idx])  # type: ignore[arg-type]

    def on_test_epoch_end(self) -> None:
        """Log the mean over the corrupted versions of the test split, where there are any."""
        names = list(getattr(getattr(self.trainer, "datamodule", None), "corruptions", ()))
        found = self.trainer.callback_metrics
        for key in [key.partition("/")[2] for key in found if names and key.startswith(f"{names[0]}/")]:
            mean = torch.stack([found[f"{name}/{key}"] for name in names]).mean()
            self.log(f"corrupted/{key}", mean, sync_dist=True)

    def _evaluate(self, batch: ImageBatch, batch_idx: int, metrics: MetricCollection) -> None:
        if batch_idx == 0:
            self._check(batch)
        output = self.step(batch)
        # the set's name tells which loader it was
        options: dict[str, Any] = {"add_dataloader_idx": False, "batch_size": self._count(batch)}
        self.log(f"{metrics.prefix}loss", output.loss, prog_bar=True, sync_dist=True, **options)
        for name, term in output.terms.items():
            self.log(f"{metrics.prefix}{name}", term, sync_dist=True, **options)
        if output.logits is not None and output.target is not None:
            metrics.update(output.logits, output.target.long() if self.task == "multi_label" else output.target)
            for name, metric in metrics.items():
                self.log(name, metric, metric_attribute="metrics", **options)  # Lightning looks for the name but once

    def answer_names(self) -> list[str]:
        """Names of what `predict_step` gives probabilities of; numbers where they are not known."""
        return self.class_names or [str(k) for k in range(self.num_classes)]

    def predict_step(self, batch: ImageBatch, batch_idx: int) -> tuple[Tensor, ImageBatch]:
        """Return probabilities, or the predicted values, (B, K), and the batch that they belong to, without its images."""
        return answer(self.test_logits(batch.image).float(), self.task), batch._replace(
            image=batch.image.new_empty(0), modalities={}
        )

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        # Lightning would keep the gradients until the next backward: beside the activations of a whole forward pass
        optimizer.zero_grad()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        # a backbone named by a folder, the hub or a file knows its architecture by now: with that none is needed for loading
        arguments = checkpoint.get("hyper_parameters", {})
        backbone = getattr(self.model, "backbone", None)
        if ":" in _backbone_name(arguments.get("backbone")) or getattr(backbone, "from_file", False):
            arguments["backbone"] = describe(backbone, "backbone")
        narrowed: Any = getattr(self.model, "narrowed", None)
        if narrowed is not None:  # the widths may be those of another checkpoint, which is needed no more
            arguments["edits"] = recorded(arguments.get("edits"), narrowed)

    def train_without_weights(self) -> None:
        """Let a module be trained of whose model no weight is: what it counts or reads is in buffers, and the optimiser holds a zero.

        The zero is no parameter, so that no checkpoint has it; where there are weights to train there is none.
        """
        if not any(parameter.requires_grad for parameter in self.model.parameters()):
            self._nothing = torch.zeros((), requires_grad=True)

    def configure_optimizers(self) -> Any:
        if self._nothing is not None:
            return SGD([{"params": [self._nothing], "name": "nothing"}], lr=0.0)
        return self.optim.build(self.learners(), self.trainer.estimated_stepping_batches, self._images_a_step())

    def _images_a_step(self) -> int | None:
        """Over all processes and accumulated batches, as far as the data says."""
        data = getattr(self.trainer, "datamodule", None)
        batch = getattr(data, "images_a_batch", getattr(data, "batch_size", None))  # batches of episodes count these
        if not isinstance(batch, int):
            return None
        return batch * self.trainer.world_size * self.trainer.accumulate_grad_batches

    def on_fit_start(self) -> None:
        table = group_table(self.learners(), self.trainer.optimizers[0])
        if any(isinstance(callback, ModelSummary) for callback in self.trainer.callbacks):  # type: ignore[attr-defined]
            rank_zero_only(Console().print)(table)
        counts = {"parameters": sum(p.numel() for p in self.model.parameters())}
        counts["trained_parameters"] = sum(p.numel() for p in self.model.parameters() if p.requires_grad)
        for logger in self.loggers:
            logger.log_hyperparams(counts)

    def _check(self, batch: ImageBatch) -> None:
        """Say in a sentence what torch would say from deep inside: wrong range, wrong class count, wrong image size."""
        image, target = batch.image, batch.target
        check_range(image)
        if self.task == "regression" and (not target.is_floating_point() or target.shape[1:] != (self.num_classes,)):
            raise ValueError(
                f"regression takes targets (B, {self.num_classes}) of floats, but they are {tuple(target.shape)} {target.dtype}"
            )
        if target.ndim == 1 and not target.is_floating_point() and target.max() >= self.num_classes:
            raise ValueError(f"the data has a target {int(target.max())}, but the model num_classes={self.num_classes}")
        if target.ndim == 2 and target.shape[1] != self.num_classes:
            raise ValueError(f"the data has {target.shape[1]} classes, but the model num_classes={self.num_classes}")
        self._try(image)

    def _look(self, image: Tensor) -> Any:  # not by a call, which would compile the model for this one image
        return self.model.forward(image)

    def _try(self, image: Tensor) -> None:
        """Let the model look at one image of a size that it has not seen yet."""
        if image.shape[1:] == self._accepted:
            return
        training = self.training
        try:
            with torch.no_grad():
                self.eval()
                self._look(image[:1])
        except (AssertionError, RuntimeError, ValueError) as error:
            height, width = image.shape[-2:]
            raise ValueError(
                f"the model refuses images of {height}x{width} pixels: {error}; set another image_size"
            ) from error
        finally:
            self.train(training)
        self._accepted = image.shape[1:]

    @classmethod
    def load_from_checkpoint(  # type: ignore[override]  # Lightning wraps its own in a descriptor
        cls, checkpoint_path: str | Path, map_location: Any = None, strict: bool | None = None, **kwargs: Any
    ) -> Any:
        """Rebuild a module from its checkpoint alone: without network, and without running code from the file.

        Args:
            checkpoint_path: file written by `fit`.
            map_location: device for the weights; by default where they were.
            strict: whether the weights must match name by name.
            kwargs: arguments that replace those in the checkpoint; needed for parts that plain data could not describe.

        Raises:
            FileNotFoundError, ValueError: saying what is wrong with the file, or which argument to pass.
        """
        hparams = read_checkpoint(checkpoint_path)["hyper_parameters"]
        check_hyperparameters(hparams, kwargs)
        concrete = import_class(hparams["_class_path"]) if "_class_path" in hparams else cls
        if not issubclass(concrete, cls):
            raise ValueError(
                f"{checkpoint_path} holds a {concrete.__name__}; load it with {concrete.__name__}.load_from_checkpoint"
            )
        with weights_from_checkpoint():
            return super(TransferModule, concrete).load_from_checkpoint(  # type: ignore[misc]
                checkpoint_path, map_location=map_location, strict=strict, weights_only=True, **kwargs
            )


def check_range(image: Tensor) -> None:
    """Refuse images that are not floats in [0, 1]."""
    if not image.is_floating_point() or image.min() < 0 or image.max() > 1:
        raise ValueError(
            f"images must be floats in [0, 1], but are {image.dtype} in [{image.min():.3g}, {image.max():.3g}]; "
            "leave mean and standard deviation to the backbone"
        )


def _check_data(data: Any, module: TransferModule) -> None:
    """Refuse episodes or texts for a module of images, and the reverse."""
    given, wanted = type(data).__name__, type(module).__name__
    if data is not None and isinstance(data, TextData) != module.textual:
        gives, takes = ("images", "texts") if module.textual else ("texts", "images")
        remedy = "CsvTextData reads them from a file" if module.textual else "a LanguagePromptModule takes texts"
        raise ValueError(f"data={given} gives {gives}, and a {wanted} takes {takes}; {remedy}")
    if data is None or isinstance(data, EpisodeData) == module.episodic:
        return
    if module.episodic:
        raise ValueError(
            f"data={given} gives images, and a {wanted} is asked episodes; put it into EpisodeData: EpisodeData(data={given}(...))"
        )
    raise ValueError(
        f"data={given} gives episodes, and a {wanted} takes images; give the data within it, or take a FewShotModule"
    )


def _backbone_name(backbone: Any) -> str:
    """The name within a backbone's description, which may be the name itself."""
    if isinstance(backbone, Mapping):
        backbone = (backbone.get("init_args") or {}).get("name")
    return backbone if isinstance(backbone, str) else ""
