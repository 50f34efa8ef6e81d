"""Beginning where another training ended."""

import re

import torch
from torch import Tensor, nn

from lightning_transfer.checkpoint import expects_checkpoint, read_checkpoint
from lightning_transfer.contracts import ModelEdit
from lightning_transfer.edits.narrow_channels import recorded_in
from lightning_transfer.language.kept import restore_frozen

_MODEL = "model."  # so begin the names of a module's weights


class StartFrom(ModelEdit):
    """Take weights from a checkpoint of this package: a network adapted before, or a probe that is to be fine-tuned (LP-FT).

    Named first among the edits it comes before what freezes, and what `L2SP` remembers are these weights. It is read once: a
    checkpoint of the training that begins here needs it no more. Where channels were pruned from the checkpoint's network, the model is
    made as narrow first.

    Args:
        ckpt_path: checkpoint of `fit`, or of a command that writes one, with the same architecture.
        parameters: regular expression, searched in the names of weights and statistics such as `backbone.model.conv_stem.weight`;
            those found are taken. With `` all are, the head among them: then the classes must be the same, in the same order.

    Raises:
        FileNotFoundError, ValueError: for a file that is no checkpoint, an expression that names nothing, or weights that the
            checkpoint lacks or has in another shape.

    Reference:
        Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022 (LP-FT).
    """

    def __init__(self, ckpt_path: str, parameters: str = "^backbone") -> None:
        try:
            self.pattern = re.compile(parameters)
        except re.error as error:
            raise ValueError(f"StartFrom(parameters={parameters!r}) is no regular expression: {error}") from error
        self.ckpt_path = ckpt_path

    def __call__(self, model: nn.Module) -> None:
        if expects_checkpoint():
            return
        checkpoint = read_checkpoint(self.ckpt_path)
        if (narrow := recorded_in(checkpoint["hyper_parameters"])) is not None:
            narrow(model)
        restore_frozen(checkpoint, nn.ModuleDict({"model": model}))
        found = checkpoint["state_dict"]
        state = {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}  # no tokenizer
        wanted = {name: tensor for name, tensor in state.items() if self.pattern.search(name)}
        if not wanted:
            parts = ", ".join(name for name, _ in model.named_children())
            raise ValueError(
                f"StartFrom(parameters={self.pattern.pattern!r}) names no weight of the model; parts: {parts}"
            )
        for name, tensor in wanted.items():
            source = found.get(_MODEL + name)
            if source is None or source.shape != tensor.shape:
                shape = "no such weight" if source is None else f"shape {tuple(source.shape)}"
                raise ValueError(
                    f"StartFrom(ckpt_path={self.ckpt_path!r}): the model has {name} of shape {tuple(tensor.shape)}, the checkpoint "
                    f"has {shape}; give one of the same architecture (of a LoRA or adapter, what merge writes), or name fewer "
                    "parameters"
                )
        with torch.no_grad():
            for name, tensor in wanted.items():
                tensor.copy_(found[_MODEL + name])
