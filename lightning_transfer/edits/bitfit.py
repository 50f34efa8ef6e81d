"""Training nothing but biases."""

from torch import nn

from lightning_transfer.contracts import ModelEdit
from lightning_transfer.edits.freeze import backbone_of, freeze_untouched, hold_statistics


class BitFit(ModelEdit):
    """Train the backbone's biases and freeze its weights; the head trains as a whole.

    Biases are all parameters whose name ends in `bias`: of linear layers, convolutions and norms. Batch norms, whose bias trains,
    keep the statistics that they came with (`hold_statistics`).

    Raises:
        ValueError: for a backbone without biases.

    Reference:
        Ben Zaken, Goldberg, Ravfogel, "BitFit: Simple Parameter-efficient Fine-tuning for Transformer-based Masked
        Language-models", ACL 2022, section 3.
    """

    def __call__(self, model: nn.Module) -> None:
        backbone = backbone_of(model, self)
        biases = [parameter for name, parameter in backbone.named_parameters() if name.endswith("bias")]
        if not biases:
            raise ValueError("edits: BitFit found no bias in the backbone; TrainNorms, LoRA or Adapter need none")
        freeze_untouched(backbone)
        hold_statistics(backbone)
        for bias in biases:
            bias.requires_grad_(True)
