"""A cache of labelled images beside the texts."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_transfer.adapters.base import ImageTextAdapter
from lightning_transfer.adapters.zero_shot import zero_shot_weights
from lightning_transfer.data import ImageData
from lightning_transfer.data.datasets import ImageDataset, collate

if TYPE_CHECKING:
    from lightning_transfer.models.image_text import ImageTextModel

_ALPHAS = tuple(0.15 * step for step in range(21))  # 0 to 3
_BETAS = tuple(0.1 + 0.0345 * step for step in range(201))  # 0.1 to 7


class TipAdapter(ImageTextAdapter):
    """Adds the labels of similar training images to what the texts say: logits + α exp(−β (1 − f·K)) V.

    K holds the vectors of a few training images of each class, each the mean over augmented views, and V their classes. Nothing need
    be trained; with `train_keys` K is (Tip-Adapter-F). α and β are chosen by accuracy on the validation images, before a training
    and after each epoch; of equals the least α, then the least β. α = 0 leaves the texts alone.

    Args:
        shots: images of each class in the cache, the first of the training split.
        views: of each image, as the training transform draws them.
        train_keys: whether the keys are trained.
        alpha: α ≥ 0 of a training, and of all else where it is not chosen.
        beta: β > 0 likewise.
        search: whether α in [0, 3] and β in [0.1, 7] are chosen on validation.

    Shape:
        vectors (B, D) of unit length → logits (B, K); keys (K·shots, D)

    Raises:
        ValueError: for values out of range; at `prepare` for a class with too few images, or no validation images.

    Reference:
        Zhang, Zhang, Fang, Gao, Li, Dai, Qiao, Li, "Tip-Adapter: Training-free Adaption of CLIP for Few-shot Classification", ECCV
        2022, equations 3 to 6.

    Deviation:
        The authors' code averages vectors before they are brought to unit length, searches from α = 0.1 on, and for ImageNet on the
        test images.
    """

    weights: Tensor
    keys: Tensor
    found: Tensor
    filled: Tensor

    def __init__(
        self,
        shots: int = 16,
        views: int = 10,
        train_keys: bool = False,
        alpha: float = 1.0,
        beta: float = 5.5,
        search: bool = True,
    ) -> None:
        super().__init__()
        for name, value in (("shots", shots), ("views", views)):
            if value < 1:
                raise ValueError(f"{name}={value} of TipAdapter must be at least 1")
        if alpha < 0:
            raise ValueError(f"alpha={alpha} of TipAdapter must not be negative; 0 leaves the texts alone, 1 is common")
        if beta <= 0:
            raise ValueError(f"beta={beta} of TipAdapter must be positive; the larger the more only near images count")
        if train_keys and alpha == 0:
            raise ValueError("alpha=0 of TipAdapter leaves the keys without a gradient; train_keys=true needs more")
        self.shots, self.views, self.train_keys = shots, views, train_keys
        self.alpha, self.beta, self.search = alpha, beta, search

    def build(self, model: "ImageTextModel", words: Sequence[str], templates: Sequence[str]) -> None:
        self.classes = len(words)
        self.register_buffer("weights", zero_shot_weights(model, words, templates))
        self.register_buffer("found", torch.tensor([self.alpha, self.beta]))
        self.register_buffer("filled", torch.tensor(False))
        keys = torch.zeros(self.classes * self.shots, model.num_features)
        if self.train_keys:
            self.keys = nn.Parameter(keys)
        else:
            self.register_buffer("keys", keys)

    def forward(self, embedding: Tensor, model: "ImageTextModel") -> Tensor:
        logits = model.logits(embedding, self.weights)
        alpha, beta = (self.alpha, self.beta) if self.training else self.found
        return logits + alpha * self.cached(embedding, beta)

    def cached(self, embedding: Tensor, beta: float | Tensor) -> Tensor:
        """What the training images say of vectors (B, D): exp(−β (1 − f·K)), summed over each class, (B, K)."""
        near = affinity(embedding @ self.keys.T, beta)
        return near.view(len(near), self.classes, self.shots).sum(dim=2)  # V is one-hot, class by class

    def prepare(self, model: "ImageTextModel", data: ImageData | None) -> None:
        if data is None:
            raise ValueError("TipAdapter takes its images from a datamodule of images; give one to fit")
        if not self.filled:
            keys = self._keys(model, data.train_set)
            with torch.no_grad():
                self.keys.copy_(keys)
            self.filled.fill_(True)
        self._validation = self._seen(model, data) if self.search else None
        self.choose(model)

    @torch.no_grad()
    def _keys(self, model: "ImageTextModel", images: ImageDataset) -> Tensor:
        chosen = _first_of_each(images.source.targets, self.classes, self.shots)
        total = torch.zeros_like(self.keys)
        for view in range(self.views):
            vectors = []
            for part in torch.split(chosen, 64):
                batch = collate([images[view * len(images) + i] for i in part.tolist()])
                if len(batch.image) < len(part):
                    raise ValueError("TipAdapter: some of its images cannot be read; leave their files out of the data")
                vectors.append(model.encode_image(batch.image.to(self.keys.device)))
            total += torch.cat(vectors)
        return normalize(total, dim=-1)

    @torch.no_grad()
    def _seen(self, model: "ImageTextModel", data: ImageData) -> tuple[Tensor, Tensor]:
        if "val" not in data.splits():
            raise ValueError(
                "TipAdapter has no validation images to choose alpha and beta by; set data.val_fraction above 0, or search=false"
            )
        pairs = [
            (model.encode_image(batch.image.to(self.keys.device)), batch.target)
            for batch in data.ordered_dataloader(data.splits()["val"])
        ]
        embedding, target = map(torch.cat, zip(*pairs, strict=True))
        return embedding, target.to(self.keys.device)

    @torch.no_grad()
    def choose(self, model: "ImageTextModel") -> None:
        if self._validation is None:
            return
        embedding, target = self._validation
        texts = model.logits(embedding, self.weights)
        self.found.copy_(torch.tensor(best_pair(texts, lambda beta: self.cached(embedding, beta), target)))


def affinity(cosine: Tensor, beta: float | Tensor) -> Tensor:
    """How much an image counts by its cosine: exp(−β (1 − cosine)), in (0, 1]."""
    return torch.exp(-beta * (1 - cosine))


@torch.no_grad()
def best_pair(texts: Tensor, cached: Callable[[float], Tensor], target: Tensor) -> tuple[float, float]:
    """α and β of the highest accuracy; of equals the least α, then the least β.

    Args:
        texts: (N, K) logits of the texts.
        cached: β to what the cache says, (N, K).
        target: (N,) int64; unknown ones, below 0, do not count.
    """
    known = target >= 0
    texts, target = texts[known], target[known]
    best = (-1.0, 0.0, 0.0)
    for beta in _BETAS:
        said = cached(beta)[known]
        for alpha in _ALPHAS:
            right = ((texts + alpha * said).argmax(dim=1) == target).double().mean().item()
            best = max(best, (right, -alpha, -beta))
    return -best[1], -best[2]


def _first_of_each(target: Tensor, classes: int, shots: int) -> Tensor:
    """Indices of the first images of each class, class by class, (K·shots,).

    Raises:
        ValueError: naming classes that have fewer.
    """
    if target.ndim != 1 or target.is_floating_point():
        raise ValueError("TipAdapter takes one class an image, but the targets are of several labels or numbers")
    found = [(target == k).nonzero().flatten()[:shots] for k in range(classes)]
    if few := {k: len(indices) for k, indices in enumerate(found) if len(indices) < shots}:
        shown = ", ".join(f"class {k} has {count}" for k, count in list(few.items())[:5])
        raise ValueError(
            f"shots={shots} of TipAdapter wants as many training images of each class, but {shown}; take fewer shots, or classes with "
            "more images"
        )
    return torch.cat(found)
