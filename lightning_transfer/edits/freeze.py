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
        backbone_of(model, self).requires_grad_(False)


def backbone_of(model: nn.Module, edit: ModelEdit) -> nn.Module:
    """Return the part of a model that edits adapt, and leave the head aside.

    Raises:
        ValueError: for a model without a part named `backbone`.
    """
    backbone = getattr(model, "backbone", None)
    if not isinstance(backbone, nn.Module):
        raise ValueError(f"edits: {type(edit).__name__} found no backbone in {type(model).__name__}")
    return backbone


def freeze_untouched(backbone: nn.Module) -> None:
    """Freeze a backbone all of which trains; in one that an edit has frozen already, that edit's choice stays, so that edits add up."""
    if all(p.requires_grad for p in backbone.parameters()):
        backbone.requires_grad_(False)


def hold_statistics(backbone: nn.Module) -> None:
    """Let batch norms go on normalising by the statistics that they came with, though their weights or biases train.

    A few labelled images make poor statistics, and training on one kind while evaluating on another costs accuracy.
    """
    for module in backbone.modules():
        if hasattr(module, "running_var"):  # torch's batch norms, and norms of timm that derive from none of them
            module.holds_statistics = True  # type: ignore[assignment]  # torch's stubs know tensors and modules alone


def keep_frozen_in_eval(module: nn.Module) -> None:
    """Put every module whose parameters are all frozen into evaluation mode, with all that is inside it.

    `requires_grad=False` alone leaves batch norm normalising by the batch and its running statistics moving, and dropout dropping.
    So do batch norms after `hold_statistics`.
    """
    parameters = list(module.parameters())
    if getattr(module, "holds_statistics", False) or (parameters and not any(p.requires_grad for p in parameters)):
        module.eval()
        return
    for child in module.children():
        keep_frozen_in_eval(child)
