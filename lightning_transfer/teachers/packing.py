"""Predictions as rows of numbers: all logits, or the likeliest classes and what is left for the others."""

from math import log
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import log_softmax

from lightning_transfer.contracts import Features, Prediction

Records = NDArray[np.void]


class Packing:
    """Turns predictions into records, and back: logits (B, K) or (M, B, K), and the embedding where it is wanted.

    Args:
        top_k: how many classes' log-probabilities are kept, beside the log of the mean probability of all others; every logit if none.
        precision: bits of a number.
        embedding: whether the embedding is kept.
    """

    def __init__(self, top_k: int | None, precision: Literal[16, 32], embedding: bool) -> None:
        if precision not in (16, 32):
            raise ValueError(f"precision={precision} must be 16 or 32 bits")
        if top_k is not None and top_k < 1:
            raise ValueError(f"top_k={top_k} must be at least 1, or none for all logits")
        self.top_k, self.precision, self.embedding = top_k, precision, embedding

    def fields(self, prediction: Prediction) -> list[tuple[str, str, tuple[int, ...]]]:
        """Name, kind and shape of what is kept of each image, for predictions that are shaped like this one.

        Raises:
            ValueError: for a top_k that leaves no other class.
        """
        number = f"<f{self.precision // 8}"
        *teachers, _, classes = prediction.logits.shape
        width = classes
        fields = []
        if self.top_k is not None:
            if self.top_k >= classes:
                raise ValueError(f"top_k={self.top_k} must be less than the teacher's {classes} classes; leave it out")
            width = self.top_k + 1
            fields.append(("classes", "<i2" if classes <= 1 << 15 else "<i4", (*teachers, self.top_k)))
        fields.insert(0, ("scores", number, (*teachers, width)))
        if self.embedding:
            fields.append(("embedding", number, (prediction.features.embedding.shape[1],)))
        return fields

    def pack(self, prediction: Prediction, into: Records) -> None:
        """Write predictions into records that have these fields.

        Raises:
            ValueError: for numbers that are not finite, or too large for their bits.
        """
        scores, classes = prediction.logits.float(), None
        if self.top_k is not None:
            scores, classes = top_and_tail(scores, self.top_k)
        values = {"scores": scores, "classes": classes}
        if self.embedding:
            values["embedding"] = prediction.features.embedding.float()
        for name, value in values.items():
            if value is None:
                continue
            if value.ndim == 3:  # the image comes first in a record
                value = value.movedim(0, 1)
            with np.errstate(over="ignore"):
                into[name] = value.cpu().numpy()
            if not np.isfinite(into[name]).all():
                raise ValueError(
                    f"the teacher's {'embeddings' if name == 'embedding' else 'logits'} are not finite in {self.precision} bits, their "
                    f"largest is {value.abs().max():.3g}; precision=32 holds up to 3e38"
                )

    def unpack(self, records: Records, classes: int, shares: Tensor | None, device: torch.device) -> Prediction:
        """Predictions in single precision of records.

        Args:
            records: as `pack` wrote them.
            classes: K.
            shares: of the teachers, where there are several.
            device: where the predictions are wanted.
        """
        logits = _tensor(records, "scores", device).float()
        if self.top_k is not None:
            top, tail = logits[..., :-1], logits[..., -1:]
            chosen = _tensor(records, "classes", device).long()
            logits = tail.expand(*tail.shape[:-1], classes).scatter(-1, chosen, top)
        if logits.ndim == 3:
            logits = logits.movedim(1, 0)
        embedding = (
            _tensor(records, "embedding", device).float() if self.embedding else logits.new_empty(len(records), 0)
        )
        return Prediction(logits, Features(embedding), shares)


def top_and_tail(logits: Tensor, top_k: int) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the likeliest classes, then the log of the mean probability of all others.

    Shape:
        logits (..., K) → (..., top_k + 1), and the classes (..., top_k) int64

    Example:
        >>> scores, classes = top_and_tail(torch.tensor([4.0, 2, 1, 0, -1, -2]), 2)
        >>> [round(p, 4) for p in scores.exp().tolist()], classes
        ([0.8246, 0.1116, 0.0159], tensor([0, 1]))
    """
    ordered, classes = log_softmax(logits, dim=-1).sort(dim=-1, descending=True, stable=True)
    top, others = ordered[..., :top_k], ordered[..., top_k:]
    tail = others.logsumexp(dim=-1, keepdim=True) - log(others.shape[-1])
    return torch.cat([top, tail], dim=-1), classes[..., :top_k]


def _tensor(records: Records, name: str, device: torch.device) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(records[name])).to(device, non_blocking=True)
