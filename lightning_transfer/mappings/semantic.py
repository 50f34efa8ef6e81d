"""The classes of the source that are called alike."""

from typing import Literal

import torch
from torch import Tensor

from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.mappings.greedy import greedy, round_robin
from lightning_transfer.mappings.injective import InjectiveMapping, check_sources_per_class
from lightning_transfer.text_encoders import MiniLM, TextEncoder


class SemanticMapping(InjectiveMapping):
    """Each class is the source whose name means the most similar, by the cosine of the names' embeddings; no image is looked at.

    Underscores count as spaces, and of a name with commas (`tench, Tinca tinca`) the most similar part counts. The mapping found is
    in the checkpoint, which needs no encoder.

    Args:
        encoder: names to embeddings; `MiniLM` if not given.
        order: `greedy`, the most similar pair of all is bound first; `round_robin`, the classes choose one after the other.
        sources_per_class: m ≥ 1 sources a class, whose scores are averaged.

    Raises:
        ValueError: for values out of range; at `build` without names of source or classes.
        ModuleNotFoundError: at `build`, for what the encoder needs.

    Reference:
        Tsao, Hsiung, Chen, Liu, Chen, Ho, "AutoVP: An Automated Visual Prompting Framework and Benchmark", ICLR 2024, section 3 (SemanticMap).
    """

    def __init__(
        self,
        encoder: TextEncoder | None = None,
        order: Literal["greedy", "round_robin"] = "greedy",
        sources_per_class: int = 1,
    ) -> None:
        super().__init__()
        if order not in ("greedy", "round_robin"):
            raise ValueError(f"order={order!r} of SemanticMapping must be greedy or round_robin")
        self.encoder = encoder or MiniLM()
        self.order = order
        self.sources_per_class = check_sources_per_class(sources_per_class)

    def choose(
        self, num_source: int, num_classes: int, source_names: list[str] | None, class_names: list[str] | None
    ) -> Tensor:
        if expects_checkpoint():
            return self.first(num_classes)
        for names, whose in ((source_names, "the source's classes"), (class_names, "the target classes")):
            if not names:
                raise ValueError(
                    f"SemanticMapping compares names, but {whose} have none; FrequencyMapping and IterativeMapping compare images"
                )
        share_out = greedy if self.order == "greedy" else round_robin
        return share_out(self.similarity(source_names or [], class_names or []), self.sources_per_class)

    def similarity(self, source_names: list[str], class_names: list[str]) -> Tensor:
        """Cosine (S, K) of the names' embeddings."""
        sources, targets = [_parts(name) for name in source_names], [_parts(name) for name in class_names]
        texts = list(dict.fromkeys(text for parts in sources + targets for text in parts))
        embedding = self.encoder(texts).float()
        embedding = embedding / embedding.norm(dim=1, keepdim=True).clamp(min=1e-12)
        row = {text: i for i, text in enumerate(texts)}
        ours, theirs = (embedding[[row[text] for parts in names for text in parts]] for names in (targets, sources))
        return _most_similar(_most_similar(theirs @ ours.T, sources).T, targets).T


def _most_similar(cosine: Tensor, names: list[list[str]]) -> Tensor:
    """One row a name, of as many as it has parts, each entry the largest of them."""
    ends = torch.tensor([len(parts) for parts in names]).cumsum(0)[:-1]
    return torch.stack([rows.amax(dim=0) for rows in cosine.tensor_split(ends)])


def _parts(name: str) -> list[str]:
    parts = [part.strip() for part in name.replace("_", " ").split(",")]
    return [part for part in parts if part] or [name]
