"""Quantisation-aware training: a network computes with rounded weights and activations, while gradients pass as if nothing were rounded.

The edit `FakeQuantise` puts these layers into a network; exports to ONNX and OpenVINO write them as integers.
"""

from lightning_transfer.quantisation.layer import QuantisedLayer
from lightning_transfer.quantisation.rounding import ActivationQuantiser, quantise_weight, weight_scale

__all__ = ["ActivationQuantiser", "QuantisedLayer", "quantise_weight", "weight_scale"]
