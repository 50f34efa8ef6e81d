"""Training nothing but normalisation layers, and training everything but their statistics."""

from torch import nn

from lightning_transfer.contracts import ModelEdit
from lightning_transfer.edits.freeze import backbone_of, freeze_untouched, hold_statistics


class TrainNorms(ModelEdit):
    """Train scale and shift of the backbone's normalisation layers and freeze the rest; the head trains as a whole.

    Norms are those of torch (batch, layer, group, instance, RMS) and of timm, its norms fused with an activation included. Batch
    norms keep the statistics that they came with (`hold_statistics`): scale and shift alone adapt.

    Raises:
        ValueError: for a backbone without norms that have parameters.

    Reference:
        Frankle, Schwab, Morcos, "Training BatchNorm and Only BatchNorm: On the Expressive Power of Random Features in CNNs",
        ICLR 2021, section 3.

    Deviation:
        The authors train from random weights on all of a data set, where statistics have to be learned; here they are the source's.
    """

    def __call__(self, model: nn.Module) -> None:
        backbone = backbone_of(model, self)
        affine = [p for module in backbone.modules() if _is_norm(module) for p in module.parameters(recurse=False)]
        if not affine:
            raise ValueError(
                "edits: TrainNorms found no norm with parameters in the backbone; BitFit, LoRA or Adapter need none"
            )
        freeze_untouched(backbone)
        hold_statistics(backbone)
        for parameter in affine:
            parameter.requires_grad_(True)


def _is_norm(module: nn.Module) -> bool:
    """Whether a module is called a norm, or its base class is, and has vectors as parameters: timm has two dozen of its own."""
    named = any("Norm" in cls.__name__ for cls in type(module).__mro__)
    return named and all(p.ndim == 1 for p in module.parameters(recurse=False))


class HoldStatistics(ModelEdit):
    """Train all parameters, while batch norms normalise by the statistics that they came with, in training as in evaluation.

    A short training on few images moves running statistics neither far enough nor surely: what training saw then differs from what
    evaluation sees.

    Raises:
        ValueError: for a backbone without running statistics.

    Reference:
        He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016, appendix A (fixed batch norms in fine-tuning).
    """

    def __call__(self, model: nn.Module) -> None:
        backbone = backbone_of(model, self)
        if not any(hasattr(module, "running_var") for module in backbone.modules()):
            raise ValueError(
                "edits: HoldStatistics found no batch norm in the backbone; other norms keep no statistics"
            )
        hold_statistics(backbone)
