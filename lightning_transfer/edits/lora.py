"""Training low-rank differences to the weights."""

import re
import warnings
from collections import Counter
from typing import Any

from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.contracts import Insertion
from lightning_transfer.edits.freeze import backbone_of, freeze_untouched
from lightning_transfer.extras import load_extra


class LoRA(Insertion):
    """Freeze the backbone and train, beside each chosen layer W, a product BA of rank r: the layer computes Wx + alpha/r · BAx.

    B starts at zero, so that the first prediction is that of the backbone as it is. Layers are linear or convolutions; of a
    convolution, A has its kernel and B is 1x1. The layers themselves are PEFT's. `lightning-transfer merge` adds the products to
    the weights.

    Left out, and said so: grouped convolutions, depthwise ones among them (PEFT cannot merge them, and wants a rank divisible by
    the groups), dilated ones (PEFT's A would not be dilated), layers that alter their weight before they use it (weight
    standardisation), the `qkv` of attention that reads the weight itself (BEiT, EVA, Swin V2: the layer is never called), and a language
    model's scores of words that share their weight with the entries of tokens (a product would belong to one of them alone).

    Args:
        rank: r ≥ 1.
        alpha: the product's scale is alpha/r.
        dropout: probability in [0, 1) by which an input of A is dropped.
        targets: regular expression, searched in module names such as `backbone.model.blocks.0.attn.qkv`; if not given, all linear
            layers and convolutions but the first convolution (a ConvNet's stem, a transformer's patch embedding) and a language model's
            scores of words. The paper adapts attention alone: `q_proj|v_proj` of LLaMA and its kin, `c_attn` of GPT-2.

    Raises:
        ValueError: for values out of range, or if no layer matches.
        ModuleNotFoundError: without PEFT.

    Reference:
        Hu, Shen, Wallis, Allen-Zhu, Li, Wang, Wang, Chen, "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022,
        equation 3.
    """

    def __init__(self, rank: int = 8, alpha: float = 16.0, dropout: float = 0.0, targets: str | None = None) -> None:
        if rank < 1:
            raise ValueError(f"rank={rank} must be at least 1; 4 to 16 are common")
        if alpha <= 0:
            raise ValueError(f"alpha={alpha} must be positive; the rank or twice the rank are common")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} is a probability and lies in [0, 1); 0 drops nothing")
        self.rank = rank
        self.alpha = alpha
        self.dropout = dropout
        self.targets = targets

    def __call__(self, model: nn.Module) -> None:
        backbone, peft = backbone_of(model, self), _peft()
        if hasattr(backbone, "peft_config"):
            raise ValueError("edits: the backbone has a LoRA already; name the layers of both in the `targets` of one")
        freeze_untouched(backbone)
        names = self._choose(backbone)
        training = [p for p in backbone.parameters() if p.requires_grad]
        config = peft.LoraConfig(
            r=self.rank,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules="|".join(map(re.escape, names)),  # as text it must match whole names, as a list their ends
        )
        with warnings.catch_warnings():  # it says which way round GPT-2's weights lie, and has it right
            warnings.filterwarnings("ignore", message="fan_in_fan_out is set to")
            peft.inject_adapter_in_model(config, backbone)
        for parameter in training:  # PEFT freezes what is not its own
            parameter.requires_grad_(True)

    def _choose(self, backbone: nn.Module) -> list[str]:
        """Names of the layers to adapt, relative to the backbone; says which had to be left out."""
        kinds = (nn.Linear, nn.Conv2d, *_transposed())
        layers: dict[str, Any] = {name: m for name, m in backbone.named_modules() if isinstance(m, kinds)}
        layers = {name: m for name, m in layers.items() if not m.weight.requires_grad}
        if self.targets is None:
            stem = next((name for name, m in layers.items() if isinstance(m, nn.Conv2d)), None)
            scores = getattr(getattr(backbone, "model", None), "get_output_embeddings", lambda: None)()
            wanted = [name for name, m in layers.items() if name != stem and m is not scores]
        else:
            wanted = [name for name in layers if re.search(self.targets, f"backbone.{name}")]
        obstacles = {name: _obstacle(backbone, name) for name in wanted}
        chosen = [name for name in wanted if obstacles[name] is None]
        if not chosen:
            fit = [f"backbone.{name}" for name in layers if _obstacle(backbone, name) is None]
            raise ValueError(
                f"edits: LoRA(targets={self.targets!r}) matches no layer that it could adapt; these it could: "
                f"{', '.join(fit[:20]) or 'none'}{', ...' if len(fit) > 20 else ''}"
            )
        left_out = Counter(reason for reason in obstacles.values() if reason is not None)
        if left_out and not expects_checkpoint():
            reasons = ", ".join(f"{count} {reason}" for reason, count in left_out.items())
            rank_zero_info(f"LoRA adapts {len(chosen)} layers; left out: {reasons}")
        return chosen

    @classmethod
    def fold(cls, model: nn.Module) -> None:
        _peft()
        from peft.tuners.lora import LoraLayer

        for name, layer in list(model.named_modules()):
            if isinstance(layer, LoraLayer):
                try:
                    layer.merge(safe_merge=True)
                except ValueError as error:
                    raise ValueError(f"LoRA of {name} cannot be merged: its weights are not finite") from error
                parent, _, child = name.rpartition(".")
                setattr(model.get_submodule(parent), child, layer.get_base_layer())
        for module in model.modules():
            vars(module).pop("peft_config", None)


def _obstacle(backbone: nn.Module, name: str) -> str | None:
    """Why a layer cannot be adapted, or None if it can."""
    from timm.layers.conv2d_same import Conv2dSame

    layer, parent = backbone.get_submodule(name), backbone.get_submodule(name.rpartition(".")[0])
    if any(isinstance(m, nn.Embedding) and m.weight is layer.weight for m in backbone.modules()):
        return "layers that share their weight with the entries of tokens"
    if type(layer) in _transposed():
        return None
    if type(layer) is nn.Linear:
        reads_weight = name.endswith("qkv") and getattr(parent, "q_bias", None) is not None
        return "attention layers that are never called" if reads_weight else None
    if type(layer) not in (nn.Conv2d, Conv2dSame):
        return "layers that alter their weight"
    assert isinstance(layer, nn.Conv2d)
    if layer.groups > 1:
        return "grouped convolutions"
    if layer.dilation != (1, 1) or layer.padding_mode != "zeros":
        return "dilated or specially padded convolutions"
    return None


def _transposed() -> tuple[type, ...]:
    """GPT-2's linear layers, whose weights lie the other way round; PEFT, which knows them, brings transformers along."""
    from transformers.pytorch_utils import Conv1D

    return (Conv1D,)


def _peft() -> Any:
    return load_extra("peft", "LoRA needs peft", "peft")
