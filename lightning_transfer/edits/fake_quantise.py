"""Training a network that computes with a few bits."""

import re
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor, nn

from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.compression.rows import obstacle
from lightning_transfer.contracts import Insertion
from lightning_transfer.edits.freeze import backbone_of
from lightning_transfer.heads import LinearHead
from lightning_transfer.quantisation.flow import watch
from lightning_transfer.quantisation.fold import fold_batch_norms
from lightning_transfer.quantisation.layer import quantised_layers
from lightning_transfer.quantisation.place import place_quantisers
from lightning_transfer.quantisation.rounding import check_bits

_SIDES = (64, 224, 32, 128, 256, 384)  # of images that networks of fixed size may take, small ones first


class FakeQuantise(Insertion):
    """Let linear layers and convolutions compute with rounded weights and activations, and train through the rounding.

    Batch norms are folded into the convolutions in front of them, with the statistics that they have, so that the edit comes behind
    what brings trained weights (`StartFrom`). Weights are rounded by a scale for each output channel, about 0; activations by one
    range for each layer, which follows the training's first batches and is fixed then. The gradient passes as if nothing were rounded,
    but for activations outside of their range. Test and prediction see the rounded network; `export` to int8, onnx or openvino writes
    it with integers, of which ONNX Runtime and OpenVINO have kernels where activations have 8 bits.

    Attention's products of activations with one another, norms that stay, sums and poolings are not rounded. Layers that train must
    come by in training: frozen ones see no batch, and round no activation.

    Args:
        weight_bits: of a weight, 2 to 8; 7 for processors without VNNI, on which sums of 8-bit products overflow.
        activation_bits: 2 to 8. The first convolution and the head have 8, and weights of at least 7 bits, unless `targets` are given.
        targets: regular expression, searched in layer names such as `backbone.model.blocks.0.0.conv_pw`; if not given, all linear
            layers and convolutions.
        batches: of training, after which ranges are fixed, at least 1; half of a short training.
        image_size: side in pixels of an image on which is seen what follows on what; found out if not given.

    Raises:
        ValueError: for values out of range, targets that match no layer, a model that is quantised already, or one that takes no images
            of this size.

    Reference:
        Jacob, Kligys, Chen, Zhu, Tang, Howard, Adam, Kalenichenko, "Quantization and Training of Neural Networks for Efficient
        Integer-Arithmetic-Only Inference", CVPR 2018, section 3; Krishnamoorthi, "Quantizing deep convolutional networks for efficient
        inference: A whitepaper", 2018.
    """

    def __init__(
        self,
        weight_bits: int = 8,
        activation_bits: int = 8,
        targets: str | None = None,
        batches: int = 100,
        image_size: int | None = None,
    ) -> None:
        check_bits("weight_bits", weight_bits)
        check_bits("activation_bits", activation_bits)
        if batches < 1:
            raise ValueError(f"batches={batches} of FakeQuantise must be at least 1; half of a training is common")
        if image_size is not None and image_size < 1:
            raise ValueError(f"image_size={image_size} of FakeQuantise must be at least 1 pixel")
        try:
            self.pattern = re.compile("" if targets is None else targets)
        except re.error as error:
            raise ValueError(f"FakeQuantise(targets={targets!r}) is no regular expression: {error}") from error
        self.weight_bits = weight_bits
        self.activation_bits = activation_bits
        self.targets = targets
        self.batches = batches
        self.image_size = image_size

    def __call__(self, model: nn.Module) -> None:
        backbone_of(model, self)
        if quantised_layers(model):
            raise ValueError("edits: the model is quantised already; give one FakeQuantise, with the targets of both")
        bits = self._bits(model)
        image = self._image(model)
        folded = fold_batch_norms(model, image)
        idle = place_quantisers(model, image, bits, self.batches)
        if len(idle) == len(bits):
            raise ValueError(f"edits: FakeQuantise(targets={self.targets!r}) names layers alone that are never called")
        if not expects_checkpoint():
            left_out = f"; never called: {', '.join(idle)}" if idle else ""
            rank_zero_info(
                f"FakeQuantise rounds {len(bits) - len(idle)} layers; {folded} batch norms are folded{left_out}"
            )

    def _bits(self, model: nn.Module) -> dict[str, tuple[int, int]]:
        """Bits of weights and activations of each layer, by name."""
        layers = {name: layer for name, layer in model.named_modules() if _can_be_rounded(layer)}
        chosen = [name for name in layers if self.pattern.search(name)]
        if not chosen:
            known = ", ".join([*layers][:5])
            raise ValueError(
                f"edits: FakeQuantise(targets={self.targets!r}) matches no linear layer or convolution; there are "
                f"{known or 'none'}{', ...' if len(layers) > 5 else ''}"
            )
        bits = dict.fromkeys(chosen, (self.weight_bits, self.activation_bits))
        if self.targets is None:
            stem = next((name for name, layer in layers.items() if isinstance(layer, nn.Conv2d)), None)
            for name in chosen:
                if name == stem or name.partition(".")[0] == "head":
                    bits[name] = (max(self.weight_bits, 7), 8)
        return bits

    def _image(self, model: nn.Module) -> Tensor:
        """A grey image of a size that the model takes."""
        like: Any = next(model.parameters())
        own = getattr(getattr(model.backbone, "model", None), "pretrained_cfg", None) or {}  # a timm model's
        sides = (*_SIDES, own.get("input_size", (3, 224, 224))[-1]) if self.image_size is None else (self.image_size,)
        said = ""
        for side in sides:
            image = torch.full((1, 3, side, side), 0.5, device=like.device)
            try:
                watch(model, image, ())
            except (AssertionError, RuntimeError, ValueError, TypeError, AttributeError) as error:
                said = said or f"{side}x{side} pixels: {(str(error) or repr(error)).splitlines()[0]}"
            else:
                return image
        raise ValueError(
            f"edits: FakeQuantise shows the model an image to see what follows on what, but it refuses {said}; set image_size"
        )

    @classmethod
    def fold(cls, model: nn.Module) -> None:  # noqa: ARG003  # the answer is the same for every model
        raise ValueError(
            "a FakeQuantise cannot be merged: no weight of the model can round its activations; use the checkpoint as it is, or "
            "export it to int8, onnx or openvino"
        )


def _can_be_rounded(layer: nn.Module) -> bool:
    """Whether a layer multiplies its weights with its input, and does nothing of its own to either."""
    return obstacle(layer) is None or isinstance(layer, LinearHead)
