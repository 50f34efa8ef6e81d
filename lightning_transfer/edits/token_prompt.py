"""Training tokens that are put beside those of the image."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from lightning_transfer.contracts import Insertion
from lightning_transfer.edits.freeze import backbone_of, freeze_untouched


class TokenPrompt(Insertion):
    """Freeze a vision transformer and train P tokens that its blocks see beside the image's (visual prompt tuning, VPT).

    Shallow prompts enter in front of the first block and pass through all of them. Deep prompts are P others for each block: what
    became of them is dropped behind it. They stand between class and register tokens and those of the patches, after position
    embeddings, and are gone before the last norm and the pooling: embedding and maps are shaped as ever.

    What is saved is storage, a checkpoint's and above all that of `AdapterCheckpoint`, not memory or time: gradients of the first
    prompts run through the whole network, and each block has P tokens more to compute.

    Takes the plain vision transformers of timm (`timm.models.VisionTransformer`): ViT, DeiT and DeiT III, DINOv2 with registers or
    without, CLIP's and SigLIP's, FlexiViT and others. Other transformers read positions within their blocks, or have no single row of tokens.

    Args:
        num_tokens: P ≥ 0; 1 to 200 are common. With 0 only the head trains.
        deep: whether each block has prompts of its own.
        dropout: probability in [0, 1) by which a prompt's entry is dropped; 0.1 is common for deep ones.

    Raises:
        ValueError: for values out of range, or a backbone that is none of these.

    Reference:
        Jia, Tang, Chen, Cardie, Belongie, Hariharan, Lim, "Visual Prompt Tuning", ECCV 2022, equations 4 to 9.

    Deviation:
        Where a norm stands in front of the blocks (CLIP's), prompts come after it.
    """

    def __init__(self, num_tokens: int = 10, deep: bool = False, dropout: float = 0.0) -> None:
        if num_tokens < 0:
            raise ValueError(f"num_tokens={num_tokens} must not be negative; 10 is a good start")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} is a probability and lies in [0, 1); 0 drops nothing")
        self.num_tokens = num_tokens
        self.deep = deep
        self.dropout = dropout

    def __call__(self, model: nn.Module) -> None:
        backbone = backbone_of(model, self)
        network = _transformer(backbone)
        freeze_untouched(backbone)
        last = len(network.blocks) - 1
        for i, block in enumerate(network.blocks):
            tokens = self._draw(network) if self.deep or i == 0 else None
            if tokens is not None or i == last:
                removed = self.num_tokens if self.deep or i == last else 0
                network.blocks[i] = Prompted(block, tokens, network.num_prefix_tokens, removed, self.dropout)

    def _draw(self, network: Any) -> nn.Parameter:
        """Tokens (P, D) from the uniform distribution that Xavier's rule gives the patch embedding."""
        from timm.layers.helpers import to_2tuple

        pixels = math.prod(to_2tuple(network.feature_info[0]["reduction"]))
        bound = math.sqrt(6 / (network.in_chans * pixels + network.embed_dim))
        return nn.Parameter(torch.empty(self.num_tokens, network.embed_dim).uniform_(-bound, bound))

    @classmethod
    def fold(cls, model: nn.Module) -> None:  # noqa: ARG003  # the answer is the same for every model
        raise ValueError(
            "a TokenPrompt cannot be merged: it is input, and no weight of the backbone stands for it; use the checkpoint as it is, or "
            "train with LoRA"
        )


class Prompted(nn.Module):
    """A block of a transformer, with prompt tokens put into the row in front of it, taken out of it behind, or both.

    Args:
        base: the block.
        prompt: P tokens (P, D), or None where none are put in.
        prefix: tokens in front of the prompts: the class token's, and registers.
        removed: tokens that are taken out again.
        dropout: probability by which a prompt's entry is dropped.

    Shape:
        (B, N, D) → (B, N + P - removed, D)
    """

    def __init__(self, base: nn.Module, prompt: nn.Parameter | None, prefix: int, removed: int, dropout: float) -> None:
        super().__init__()
        self.base = base
        self.prompt = prompt
        self.prefix = prefix
        self.removed = removed
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, *args: Any, **options: Any) -> Tensor:  # timm's blocks also take masks
        if self.prompt is not None:
            prompt = self.dropout(self.prompt.to(x.dtype).expand(x.shape[0], -1, -1))
            x = torch.cat([x[:, : self.prefix], prompt, x[:, self.prefix :]], dim=1)
        x = self.base(x, *args, **options)
        if self.removed:
            x = torch.cat([x[:, : self.prefix], x[:, self.prefix + self.removed :]], dim=1)
        return x


def _transformer(backbone: nn.Module) -> Any:
    """The backbone's network, if tokens can be put into it."""
    from timm.models import VisionTransformer

    found = next((module for module in backbone.modules() if isinstance(module, VisionTransformer)), None)
    if found is None:
        network = getattr(backbone, "model", backbone)
        raise ValueError(
            "edits: TokenPrompt takes timm's plain vision transformers (vit_*, deit_*, deit3_*, flexivit_*; DINOv2, CLIP and SigLIP "
            f"among them), but the backbone is a {type(network).__name__}; LoRA and Adapter take most others"
        )
    if any(isinstance(block, Prompted) for block in found.blocks):
        raise ValueError("edits: the backbone has a TokenPrompt already; give one, with the tokens of both")
    return found
