"""The beginning that prompts share is read once."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_transfer.language.model import LanguageModel
from lightning_transfer.language.past import Past

SHORTEST = 8  # tokens; below, another pass costs more than it saves


class SharedPast:
    """Remembers the last beginning that was read, for whoever asks next with the same one.

    It belongs to the weights of the moment: `forget` it when they change.
    """

    def __init__(self) -> None:
        self.ids: list[int] = []
        self.past: Past | None = None

    def forget(self) -> None:
        """Read anew next time."""
        self.ids, self.past = [], None

    def read(self, model: LanguageModel, ids: list[int]) -> Past:
        """What a beginning is once read, soft prompt and all, of batch 1."""
        if self.past is None or self.ids != ids:
            tokens = torch.tensor([ids], device=model.device)
            count = torch.tensor([len(ids)], device=model.device)
            _, self.past = model.read(tokens, count, model.begin(), count - 1)
            self.ids = list(ids)
        return self.past


def common_beginning(rows: Sequence[Sequence[int]]) -> int:
    """How many first tokens all rows have in common."""
    first, last = min(map(list, rows)), max(map(list, rows))
    for i, (one, other) in enumerate(zip(first, last, strict=False)):
        if one != other:
            return i
    return min(len(first), len(last))


def beginning(
    model: LanguageModel, front: str, rows: Sequence[Sequence[int]], kept: SharedPast | None
) -> tuple[int, Past | None]:
    """Read what rows of tokens share of a text in front of them, where it is worth it.

    A row keeps at least one token of its own. With gradients nothing is shared: the beginning is then part of what is trained.

    Args:
        model: a causal one.
        front: the text that all rows begin with; a token over its end belongs to the rows.
        rows: tokens of whole texts.
        kept: what remembers; none reads all of every row.

    Returns:
        how many tokens of each row have been read, and the past behind which the rest is
    """
    if kept is None or not front or torch.is_grad_enabled():
        return 0, model.begin()
    (ids,) = model.encode([front])
    count = min(common_beginning([ids, *rows]), min(map(len, rows)) - 1)
    if count < SHORTEST:
        return 0, model.begin()
    return count, kept.read(model, ids[:count])


def pad(rows: Sequence[Sequence[int]], device: torch.device) -> tuple[Tensor, Tensor]:
    """Rows side by side, padded on the right, (B, N), and their lengths (B,)."""
    width = max(map(len, rows))
    ids = torch.tensor([[*row, *([0] * (width - len(row)))] for row in rows], device=device)
    return ids, torch.tensor([*map(len, rows)], device=device)


def buckets(lengths: Sequence[int], most: int, waste: float = 0.25) -> list[list[int]]:
    """Numbers of rows to be read together: alike in length, so that little is padding, and not too many tokens at once.

    Args:
        lengths: of the rows.
        most: tokens of a bucket with its padding; a longer row is alone.
        waste: largest share of a row that may be padding.
    """
    found: list[list[int]] = []
    for i in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        longest = lengths[found[-1][0]] if found else 0
        if found and lengths[i] >= (1 - waste) * longest and (len(found[-1]) + 1) * longest <= most:
            found[-1].append(i)
        else:
            found.append([i])
    return found


def packs(lengths: Sequence[int], most: int) -> list[list[int]]:
    """Numbers of rows to be read side by side: in order, as many as have so many tokens together; a longer row is alone."""
    found: list[list[int]] = []
    total = most
    for i, length in enumerate(lengths):
        if total + length > most:
            found.append([])
            total = 0
        found[-1].append(i)
        total += length
    return found
