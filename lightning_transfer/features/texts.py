"""What a frozen text tower makes of captions, each computed once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_transfer.models import ImageTextModel

_AT_A_TIME = 64  # captions


class TextOutputs:
    """Remembers the outputs of a model's text tower by the texts.

    Every text that was met is kept: N of them take N x D numbers.

    Shape:
        N texts → (N, D), before projection
    """

    def __init__(self) -> None:
        self.rows: dict[str, int] = {}
        self.outputs: Tensor | None = None

    def __call__(self, model: ImageTextModel, texts: Sequence[str]) -> Tensor:
        new = [text for text in dict.fromkeys(texts) if text not in self.rows]
        if new or self.outputs is None:
            self._read(model, new)
        assert self.outputs is not None
        return self.outputs[[self.rows[text] for text in texts]]

    @torch.no_grad()
    def _read(self, model: ImageTextModel, texts: Sequence[str]) -> None:
        known = [] if self.outputs is None else [self.outputs]
        for start in range(0, len(texts), _AT_A_TIME):
            known.append(model.text_tower(model.tokenize(texts[start : start + _AT_A_TIME])).float())
        self.outputs = torch.cat(known)
        self.rows |= {text: len(self.rows) + i for i, text in enumerate(texts)}
