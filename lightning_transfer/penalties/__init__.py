"""Penalties: the model's weights to a scalar that the training loss adds; validation and test leave it out."""

from lightning_transfer.penalties.l2_sp import L2SP

__all__ = ["L2SP"]
