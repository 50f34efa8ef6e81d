"""A classifier with one hidden layer."""

from torch import nn

from lightning_transfer.parts import Part


class MLPHead(Part, nn.Sequential):
    """Linear, GELU, dropout, linear.

    Args:
        in_features: D.
        num_classes: K.
        hidden: width of the hidden layer.
        dropout: share of hidden units dropped in training, in [0, 1).

    Shape:
        (B, D) → (B, K)
    """

    def __init__(self, in_features: int, num_classes: int, hidden: int = 512, dropout: float = 0.0) -> None:
        super().__init__(nn.Linear(in_features, hidden), nn.GELU(), nn.Dropout(dropout), nn.Linear(hidden, num_classes))
