"""Freezing that also holds for normalisation layers."""

from torch import nn

from lightning_transfer.contracts import ModelEdit


class FreezeBackbone(ModelEdit):
    """Take the backbone's parameters out of training: what is left to learn is a probe on fixed features.

    Its modules also stay in evaluation mode (`keep_frozen_in_eval`), so that batch statistics neither move nor are used.

    Raises:
        ValueError: for a model without a part named `backbone`.
    """

    def __call__(self, model: nn.Module) -> None:
        backbone = getattr(model, "backbone", None)
        if not isinstance(backbone, nn.Module):
            raise ValueError(f"edits: FreezeBackbone found no backbone in {type(model).__name__}")
        backbone.requires_grad_(False)


def keep_frozen_in_eval(module: nn.Module) -> None:
    """Put every module whose parameters are all frozen into evaluation mode, with all that is inside it.

    `requires_grad=False` alone leaves batch norm normalising by the batch and its running statistics moving, and dropout dropping.
    """
    parameters = list(module.parameters())
    if parameters and not any(p.requires_grad for p in parameters):
        module.eval()
        return
    for child in module.children():
        keep_frozen_in_eval(child)
