"""What contrastive losses share: each embedding is to be found by those of its kind among all others."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_transfer.losses.gather import gathered, gathered_with_gradient, processes


def check_temperature(loss: object, temperature: float) -> float:
    """Refuse what is no temperature.

    Raises:
        ValueError: naming the loss.
    """
    if temperature <= 0:
        raise ValueError(f"temperature={temperature} of {type(loss).__name__} must be positive; 0.07 to 0.5 are common")
    return temperature


def contrast(views: Sequence[Tensor], kinds: Tensor | None, temperature: float) -> tuple[Tensor, int]:
    """Mean over anchors of the mean over their positives of -log softmax over all other embeddings, those of all processes.

    Args:
        views: embeddings (B, D) of the same images, normalised here.
        kinds: (B,) what is to be alike; each image is of a kind of its own if not given.
        temperature: of the cosines.

    Returns:
        the loss, in nats, whose mean over processes is that of one process with all images; and how many anchors had a positive, among
        those of all processes. Anchors without one are left out of the mean.
    """
    own = normalize(torch.cat([view.float() for view in views]))
    all_, start = gathered_with_gradient(own)
    place = torch.arange(len(own), device=own.device)
    images = len(views[0])
    mine = (kinds if kinds is not None else start + place[:images]).repeat(len(views))
    kind, _ = gathered(mine)
    cosine = own @ all_.T / temperature
    self_ = torch.zeros_like(cosine, dtype=torch.bool)
    self_[place, start + place] = True
    log_p = cosine - cosine.masked_fill(self_, -torch.inf).logsumexp(dim=1, keepdim=True)
    positive = (mine[:, None] == kind) & ~self_
    counts = positive.sum(dim=1)
    by_anchor = -(log_p * positive).sum(dim=1) / counts.clamp(min=1)
    _, which, members = torch.unique(kind, return_inverse=True, return_counts=True)
    anchors = int((members[which] > 1).sum())
    return by_anchor.sum() * processes() / max(anchors, 1), anchors
