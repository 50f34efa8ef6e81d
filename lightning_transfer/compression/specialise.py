"""From a classifier to one of some of its classes."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from lightning_transfer.checkpoint import rebuild, weights_from_checkpoint
from lightning_transfer.models import Classifier
from lightning_transfer.modules import TransferModule


def specialise(
    checkpoint: Mapping[str, Any], module: TransferModule, numbers: Sequence[int]
) -> tuple[dict[str, Any], TransferModule]:
    """Narrow a classifier's head to some classes, whose logits stay what they were.

    Args:
        checkpoint: of the module, as it was read.
        module: with its weights, on the CPU.
        numbers: of the classes, in the order that they will have.

    Returns:
        the checkpoint with other arguments and weights, and the module that it makes

    Raises:
        ValueError: for a module without a head of its own, or a head whose classes cannot be taken apart.
    """
    if not isinstance(module.model, Classifier) or module.task != "classification":
        raise ValueError(
            f"classes={list(numbers)} narrow the head of a classifier, but the checkpoint holds a {type(module.model).__name__} with "
            f"task={module.task}; leave classes out"
        )
    arguments = _arguments(checkpoint["hyper_parameters"], module.class_names, numbers)
    with weights_from_checkpoint():
        narrow: TransferModule = rebuild(arguments)
    state = _rows(checkpoint["state_dict"], narrow.state_dict(), numbers)
    narrow.load_state_dict(state, strict=narrow.strict_loading)
    _check(module.model, narrow.model, numbers)  # type: ignore[arg-type]
    return {**checkpoint, "hyper_parameters": arguments, "state_dict": state}, narrow.eval()


def _arguments(arguments: Mapping[str, Any], names: Sequence[str] | None, numbers: Sequence[int]) -> dict[str, Any]:
    changed = {**arguments, "num_classes": len(numbers)}
    if names is not None:
        changed["class_names"] = [names[k] for k in numbers]
        if isinstance(weights := arguments.get("class_weights"), Mapping):
            changed["class_weights"] = {name: weights[name] for name in changed["class_names"] if name in weights}
    return changed


def _rows(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor], numbers: Sequence[int]) -> dict[str, Tensor]:
    """Of tensors with a row a class, those of the chosen ones; the others as they are."""
    rows = torch.tensor(numbers)
    return {
        name: tensor if name not in wanted or tensor.shape == wanted[name].shape else tensor[rows]
        for name, tensor in state.items()
    }


@torch.no_grad()
def _check(model: Classifier, narrow: Classifier, numbers: Sequence[int]) -> None:
    embedding = torch.randn(16, model.backbone.num_features, generator=torch.Generator().manual_seed(0))
    before, after = (_logits(each.head, embedding) for each in (model, narrow))
    if not torch.allclose(before[:, torch.tensor(numbers)], after, rtol=1e-4, atol=1e-6):
        raise ValueError(
            f"head={type(model.head).__name__} mixes its classes, so that it cannot be narrowed to some; heads that end in a linear "
            "layer and cosine heads can"
        )


def _logits(head: nn.Module, embedding: Tensor) -> Tensor:
    logits: Tensor = head.eval()(embedding)
    return logits
