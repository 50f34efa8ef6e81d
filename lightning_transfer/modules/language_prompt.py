"""Just ask: a language model answers by prompts, hard ones, learned ones, or after training."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW

from lightning_transfer.asking import Asking
from lightning_transfer.contracts import ModelEdit, Penalty, StepOutput, TextBatch
from lightning_transfer.data.text import TextData
from lightning_transfer.language import LanguageModel
from lightning_transfer.language.kept import leave_out_frozen, restore_frozen
from lightning_transfer.modules.base import TransferModule
from lightning_transfer.optim import Optim
from lightning_transfer.parts import describe
from lightning_transfer.tasks import TextTask


class AskedModel(nn.Module):
    """A language model in the place where edits and parameter groups look for a backbone.

    Args:
        backbone: the model.
    """

    def __init__(self, backbone: LanguageModel) -> None:
        super().__init__()
        self.backbone = backbone


class LanguagePromptModule(TransferModule):
    """Ask a language model for a class or a text.

    Without training this is prompt engineering: `test` and `predict` need no `fit`. With `fit` all weights learn (prompt-based fine-tuning), or
    what edits leave: a soft prompt (`SoftPrompt`, `PrefixTuning`, `PTuning`), `LoRA`, `BitFit`. Frozen weights that can be read again from where
    they came from are in no checkpoint.

    Args:
        model: to ask.
        asking: `Choosing` one of the classes by its word, or `Saying` a text.
        num_classes: K, of the data.
        optim: optimiser, schedule and groups; AdamW at 1e-5 with warm-up and cosine if not given.
        edits: what is frozen or inserted, one after the other.
        penalties: added to the training loss.
        task: what the answers of the data are.
        class_names: K names; the label words' places.

    Raises:
        ValueError: for what does not go together: words that the model cannot tell apart, a task that is not asked for, templates with fields
            that the data lacks.
    """

    model: AskedModel
    textual = True

    def __init__(
        self,
        model: LanguageModel,
        asking: Asking,
        num_classes: int | None = None,
        optim: Optim | None = None,
        edits: list[ModelEdit] | None = None,
        penalties: list[Penalty] | None = None,
        task: TextTask | None = None,
        class_names: list[str] | None = None,
    ) -> None:
        if task is not None and task != asking.task:
            other = "Saying" if task == "generation" else "Choosing"
            raise ValueError(
                f"asking={type(asking).__name__} is for {asking.task}, but the data's task is {task}; take {other}"
            )
        asking.build(model, class_names)
        if num_classes and class_names and num_classes != len(class_names):
            raise ValueError(f"num_classes={num_classes}, but class_names has {len(class_names)}: {class_names[:5]}")
        super().__init__(
            max(1, num_classes or len(class_names or ())),
            class_names or None,
            None,
            "classification",
            optim or Optim(partial(AdamW, lr=1e-5, weight_decay=0.01)),
            asking.metrics(),
            channels_last=False,
            compile=False,
        )
        self.asking = asking
        self.model = AskedModel(model)
        for edit in edits or ():
            edit(self.model)
        self.penalties = {type(penalty).__name__: penalty for penalty in penalties or ()}
        self.penalty_modules = nn.ModuleList(penalties or ())
        for penalty in penalties or ():
            penalty.remember(self.model)
        self.train(self.training)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, TextData):
            raise ValueError(
                "a LanguagePromptModule is asked texts of a datamodule, CsvTextData for example, and there is none"
            )
        pool = data.splits().get("train") if self.asking.demonstrations is not None else None
        self.asking.prepare(pool, data.class_names, data.inputs)

    def on_validation_start(self) -> None:
        self.asking.forget()

    def on_test_start(self) -> None:
        super().on_test_start()
        self.asking.forget()

    def on_predict_start(self) -> None:
        self.asking.forget()

    def step(self, batch: TextBatch) -> StepOutput:  # type: ignore[override]
        return StepOutput(self.asking.loss(self.model.backbone, batch), {})

    def regularise(self, output: StepOutput) -> StepOutput:
        terms = {name.lower(): penalty(self.model) for name, penalty in self.penalties.items()}
        return output._replace(loss=sum(terms.values(), output.loss), terms=output.terms | terms)

    def _count(self, batch: TextBatch) -> Any:  # type: ignore[override]
        return float(len(batch.fields))

    def _check(self, batch: TextBatch) -> None:  # type: ignore[override]
        if len(batch.target) and self.asking.task == "classification" and int(batch.target.max()) >= self.num_classes:
            raise ValueError(
                f"the data has a target {int(batch.target.max())}, but the model num_classes={self.num_classes}"
            )

    def _evaluate(self, batch: TextBatch, batch_idx: int, metrics: Any) -> None:  # type: ignore[override]
        if batch_idx == 0:
            self._check(batch)
        loss, compared = self.asking.measured(self.model.backbone, batch)
        options: dict[str, Any] = {"add_dataloader_idx": False, "batch_size": self._count(batch)}
        if loss is not None:
            self.log(f"{metrics.prefix}loss", loss, prog_bar=True, sync_dist=True, **options)
        metrics.update(**compared)
        for name, metric in metrics.items():
            self.log(name, metric, metric_attribute="metrics", **options)

    def predict_step(self, batch: TextBatch, batch_idx: int) -> tuple[Tensor | list[dict[str, str]], TextBatch]:  # type: ignore[override]
        """Return probabilities (B, K) or what was said of each text, and the batch that they belong to."""
        return self.asking.predict(self.model.backbone, batch), batch

    @torch.no_grad()
    def ask(self, fields: list[dict[str, str]]) -> Tensor | list[dict[str, str]]:
        """Probabilities (B, K) of the classes, or what is said, of any texts.

        Args:
            fields: B, with what the template names.
        """
        self.eval()
        batch = TextBatch(fields, torch.full((len(fields),), -1))
        return self.asking.predict(self.model.backbone, batch)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        checkpoint["hyper_parameters"]["model"] = describe(self.model.backbone, "model")
        leave_out_frozen(checkpoint, self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        restore_frozen(checkpoint, self)
