"""Rules on embeddings that are brought to unit length first, centred or not."""

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_transfer.fewshot.base import EpisodeRule

Transform = Literal["UN", "L2N", "CL2N"]


class TransformedRule(EpisodeRule):
    """Takes embeddings as they are (UN), of unit length (L2N), or of unit length about the mean of base-class images (CL2N).

    Args:
        transform: which of them; CL2N needs base classes.

    Raises:
        ValueError: for any other; at a call for CL2N that was not prepared.
    """

    base_mean: Tensor | None

    def __init__(self, transform: Transform) -> None:
        super().__init__()
        if transform not in get_args(Transform):
            raise ValueError(f"transform={transform!r} of {type(self).__name__} must be UN, L2N or CL2N")
        self.transform = transform
        self.needs_base = transform == "CL2N"
        self.register_buffer("base_mean", None, persistent=False)  # of the backbone's embeddings, and made with them

    @torch.no_grad()
    def prepare(self, base: Tensor, class_names: object) -> None:
        if self.transform != "CL2N":
            return
        if base.ndim != 2 or len(base) == 0:
            raise ValueError(
                f"base {tuple(base.shape)} must be embeddings (N, D) of at least one image of a base class"
            )
        self.base_mean = base.mean(dim=0, dtype=torch.promote_types(base.dtype, torch.float32))

    def see(self, embedding: Tensor) -> Tensor:
        if self.transform == "UN":
            return embedding
        if self.transform == "CL2N":
            embedding = embedding - self._mean(embedding)
        return normalize(embedding, dim=-1)

    def _mean(self, embedding: Tensor) -> Tensor:
        name = type(self).__name__
        if self.base_mean is None:
            raise ValueError(
                f"transform='CL2N' of {name} centres by the mean of base-class embeddings, which it was not given; call prepare, or take "
                "L2N, which needs none"
            )
        if len(self.base_mean) != embedding.shape[-1]:
            raise ValueError(
                f"{name} was prepared with embeddings of {len(self.base_mean)} entries, and these have {embedding.shape[-1]}; prepare it "
                "for this backbone"
            )
        return self.base_mean.to(embedding)
