"""Layers between a backbone and the loss that pretrains it; also those between a projector and the loss, the predictor."""

from torch import nn

from lightning_transfer.parts import Part


class MLPProjector(Part, nn.Sequential):
    """Linear layers with batch norm and ReLU between them.

    SimCLR has two layers, MoCo v3 and VICReg three (MoCo v3 with `last_norm`), BYOL two for projector and predictor, MoCo v2 two without
    `norm`.

    Args:
        in_features: D.
        hidden: width of the hidden layers.
        out_features: width of what the loss sees.
        layers: how many, ≥ 1.
        norm: whether batch norms lie between the layers.
        last_norm: whether one without weights ends it.

    Shape:
        (B, D) → (B, out_features)

    Raises:
        ValueError: for no layer.
    """

    def __init__(
        self,
        in_features: int,
        hidden: int = 2048,
        out_features: int = 128,
        layers: int = 2,
        norm: bool = True,
        last_norm: bool = False,
    ) -> None:
        if min(layers, hidden, out_features) < 1:
            raise ValueError(f"layers={layers}, hidden={hidden} and out_features={out_features} must be at least 1")
        steps: list[nn.Module] = []
        width = in_features
        for _ in range(layers - 1):
            steps += [nn.Linear(width, hidden, bias=not norm), *([nn.BatchNorm1d(hidden)] if norm else []), nn.ReLU()]
            width = hidden
        steps.append(nn.Linear(width, out_features, bias=not last_norm))
        if last_norm:
            steps.append(nn.BatchNorm1d(out_features, affine=False))
        super().__init__(*steps)
        self.out_features = out_features
