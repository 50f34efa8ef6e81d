"""Training small networks inserted between frozen layers."""

import math
from typing import Any

from torch import Tensor, nn

from lightning_transfer.contracts import Insertion
from lightning_transfer.edits.freeze import backbone_of, freeze_untouched


class Adapter(Insertion):
    """Freeze the backbone and train a bottleneck in each block: down to a few units, ReLU, and up again.

    Where blocks have an MLP (transformers, ConvNeXt and their kin) the bottleneck a lies beside it and sees the same normalised
    input: x + MLP(LN(x)) + s·a(LN(x)). In other ConvNets it follows each stage and is of 1x1 convolutions: h + s·a(h). The way up
    starts at zero, so that the first prediction is that of the backbone as it is.

    Args:
        bottleneck: units of the bottleneck, ≥ 1.
        scale: s > 0.

    Raises:
        ValueError: for values out of range, or a backbone in which neither MLPs nor stages of one map each are found.

    Reference:
        Chen, Ge, Tong, Wang, Song, Wang, Luo, "AdaptFormer: Adapting Vision Transformers for Scalable Visual Recognition", NeurIPS
        2022, equations 2 and 3. Houlsby, Giurgiu, Jastrzebski, Morrone, de Laroussilhe, Gesmundo, Attariyan, Gelly,
        "Parameter-Efficient Transfer Learning for NLP", ICML 2019, section 2.1, for the bottleneck in series. Rebuffi, Bilen, Vedaldi,
        "Learning multiple visual domains with residual adapters", NeurIPS 2017, section 3.2, for 1x1 convolutions.

    Deviation:
        Rebuffi et al. put a full 1x1 convolution after each convolution; stages are what timm's ConvNets name alike. LayerScale and
        stochastic depth of a block apply to the MLP and its adapter together.
    """

    def __init__(self, bottleneck: int = 64, scale: float = 0.1) -> None:
        if bottleneck < 1:
            raise ValueError(f"bottleneck={bottleneck} must be at least 1; 64 is common")
        if scale <= 0:
            raise ValueError(f"scale={scale} must be positive; 0.1 is common")
        self.bottleneck = bottleneck
        self.scale = scale

    def __call__(self, model: nn.Module) -> None:
        backbone = backbone_of(model, self)
        widths = {
            m: _width(m.get_submodule("mlp"))
            for m in backbone.modules()
            if isinstance(getattr(m, "mlp", None), nn.Module)
        }
        blocks = {block: width for block, width in widths.items() if width is not None}
        stages = {} if blocks else _stages(backbone)
        if not blocks and not stages:
            raise ValueError(
                "edits: Adapter found neither blocks with an `mlp` nor stages in the backbone; LoRA needs neither"
            )
        freeze_untouched(backbone)
        for block, width in blocks.items():
            block.mlp = Beside(block.get_submodule("mlp"), self._make(*width))
        for name, width in stages.items():
            parent, _, child = name.rpartition(".")
            setattr(backbone.get_submodule(parent), child, After(backbone.get_submodule(name), self._make(*width)))

    def _make(self, width: int, channels_in_last: bool) -> "Bottleneck":
        return Bottleneck(width, self.bottleneck, self.scale, channels_in_last)

    @classmethod
    def fold(cls, model: nn.Module) -> None:  # noqa: ARG003  # the answer is the same for every model
        raise ValueError(
            "an Adapter cannot be merged: no weight of the backbone can compute the ReLU in its bottleneck; "
            "use the checkpoint as it is, or train with LoRA"
        )


class Bottleneck(nn.Module):
    """Down, ReLU, up and a factor; zero at the start.

    Args:
        width: channels in and out.
        units: channels between.
        scale: the factor.
        channels_in_last: whether channels are the last dimension, or the second of four.

    Shape:
        (B, ..., C) → (B, ..., C), or (B, C, H, W) → (B, C, H, W)
    """

    def __init__(self, width: int, units: int, scale: float, channels_in_last: bool) -> None:
        super().__init__()
        self.scale = scale
        self.down = nn.Linear(width, units) if channels_in_last else nn.Conv2d(width, units, 1)
        self.up = nn.Linear(units, width) if channels_in_last else nn.Conv2d(units, width, 1)
        nn.init.kaiming_uniform_(self.down.weight, a=math.sqrt(5))  # as the authors of AdaptFormer do
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            if zero is not None:
                nn.init.zeros_(zero)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.scale * self.up(self.down(x).relu())
        return y


class Beside(nn.Module):
    """A layer with an adapter in parallel.

    Args:
        base: the layer.
        adapter: sees the same input; its output is added.
    """

    def __init__(self, base: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.adapter = adapter

    def forward(self, x: Tensor, *args: Any) -> Tensor:  # some MLPs also want the grid's size
        y: Tensor = self.base(x, *args) + self.adapter(x)
        return y


class After(nn.Module):
    """A layer with a residual adapter in series.

    Args:
        base: the layer.
        adapter: sees the layer's output; its own is added.
    """

    def __init__(self, base: nn.Module, adapter: nn.Module) -> None:
        super().__init__()
        self.base = base
        self.adapter = adapter

    def forward(self, x: Tensor) -> Tensor:
        h = self.base(x)
        if not isinstance(h, Tensor):
            raise ValueError(
                "edits: Adapter takes stages of one map each, but this backbone's return several; LoRA takes them"
            )
        y: Tensor = h + self.adapter(h)
        return y


def _width(mlp: nn.Module) -> tuple[int, bool] | None:
    """Channels that an MLP takes and returns, and whether they come last; None if it returns others, as those of positions do."""
    layers = [m for m in mlp.modules() if isinstance(m, nn.Linear | nn.Conv2d)]
    if not layers:
        return None
    first, last = layers[0], layers[-1]
    width = first.in_features if isinstance(first, nn.Linear) else first.in_channels
    returned = last.out_features if isinstance(last, nn.Linear) else last.out_channels
    return (width, isinstance(first, nn.Linear)) if width == returned else None


def _stages(backbone: nn.Module) -> dict[str, tuple[int, bool]]:
    """Names of a timm model's stages relative to the backbone, their channels, and whether those come last."""
    for prefix, module in backbone.named_modules():
        described = getattr(module, "feature_info", None)
        if isinstance(described, list):
            in_last = getattr(module, "output_fmt", "NCHW") == "NHWC"
            named = {f"{prefix}.{stage['module']}".lstrip("."): stage["num_chs"] for stage in described}
            modules = dict(backbone.named_modules())
            return {
                name: (channels, in_last)
                for name, channels in named.items()
                if name in modules and any(isinstance(m, nn.Conv2d) for m in modules[name].modules())  # no stem's ReLU
            }
    return {}
