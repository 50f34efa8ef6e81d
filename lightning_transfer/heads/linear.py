"""The plain classifier."""

from torch import nn

from lightning_transfer.parts import Part


class LinearHead(Part, nn.Linear):
    """One linear layer that starts at zero, so that the first prediction is uniform and the first gradient small.

    Args:
        in_features: D.
        num_classes: K.
        bias: whether a bias is learned.

    Shape:
        (B, D) → (B, K)
    """

    def __init__(self, in_features: int, num_classes: int, bias: bool = True) -> None:
        super().__init__(in_features, num_classes, bias)
        nn.init.zeros_(self.weight)
        if bias:
            nn.init.zeros_(self.bias)
