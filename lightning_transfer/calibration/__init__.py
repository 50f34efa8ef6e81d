"""Calibration: making probabilities mean what they say, without another training; (logits, target) of a validation split -> a rule."""

from lightning_transfer.calibration.fold import divide_logits
from lightning_transfer.calibration.temperature import fit_temperature, negative_log_likelihood

__all__ = ["divide_logits", "fit_temperature", "negative_log_likelihood"]
