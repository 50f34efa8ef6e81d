"""How likely a masked language model finds each of several words at a mask."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_transfer.language.model import LanguageModel
from lightning_transfer.language.score import MOST_TOKENS
from lightning_transfer.language.shared import buckets, pad


def word_scores(model: LanguageModel, before: Sequence[str], after: Sequence[str], choices: Sequence[str]) -> Tensor:
    """Log-probabilities (B, K) of words in the place between two texts.

    Args:
        model: a masked one.
        before: B texts.
        after: B texts.
        choices: K words with the space in front of them, the same for all texts.

    Raises:
        ValueError: for a word that is not one token there, or a text that is too long, which is never cut.
    """
    mask = model.tokenizer.id_to_token(model.special["mask"])
    space = " " if choices[0].startswith(" ") else ""
    rows = model.encode([f"{one}{space}{mask}{other}" for one, other in zip(before, after, strict=True)])
    for text, row in zip(before, rows, strict=True):
        if len(row) > model.room:
            raise ValueError(
                f"the text {text[:60]!r} has {len(row)} tokens, but the model reads {model.room}; shorten it: nothing is cut"
            )
    words = [word_token(model, before[0], after[0], rows[0], choice) for choice in choices]
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    for bucket in buckets([*map(len, rows)], MOST_TOKENS):
        ids, lengths = pad([rows[i] for i in bucket], model.device)
        for scores, i in zip(model.fill(ids, lengths).float().log_softmax(dim=-1), bucket, strict=True):
            found[i] = scores[words]
    return torch.stack(found)


def word_token(model: LanguageModel, before: str, after: str, masked: Sequence[int], choice: str) -> int:
    """The token of a word in the place of the mask.

    Raises:
        ValueError: if it is more than one.
    """
    (ids,) = model.encode([before + choice + after])
    place = list(masked).index(model.special["mask"])
    extra = len(ids) - len(masked)
    if extra or ids[:place] != list(masked[:place]) or ids[place + 1 :] != list(masked[place + 1 :]):
        pieces = [model.tokenizer.id_to_token(token) for token in ids[place : place + extra + 1]]
        raise ValueError(
            f"words: {choice.strip()!r} is {len(pieces)} tokens to the model ({', '.join(pieces)}), but a mask is one; choose another word"
        )
    return int(ids[place])
