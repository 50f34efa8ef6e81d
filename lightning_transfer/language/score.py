"""How likely a language model finds each of several ways to go on."""

from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor

from lightning_transfer.language.model import LanguageModel
from lightning_transfer.language.past import Past
from lightning_transfer.language.shared import SharedPast, beginning, buckets, packs, pad

MOST_TOKENS = 4096  # read at once
LONG = 64  # tokens of a shared beginning, from which on texts are read side by side, lest each reads a copy of it
PACKED = 512  # tokens side by side: each looks at all, and a mask shuts out the others


class Scores(NamedTuple):
    """Logarithms of probabilities of choices, and their lengths in tokens, characters and bytes of UTF-8.

    Shape:
        all (B, K)
    """

    log_prob: Tensor
    tokens: Tensor
    characters: Tensor
    bytes: Tensor


class _Row(NamedTuple):
    ids: list[int]  # context and choice
    start: int  # where the choice begins


def choice_scores(
    model: LanguageModel,
    contexts: Sequence[str],
    choices: Sequence[Sequence[str]],
    front: str = "",
    kept: SharedPast | None = None,
) -> Scores:
    """Score choices by the sum of their tokens' log-probabilities behind a context.

    Context and choice are tokenised together, and the choice begins where its tokens part from the context's: apart they may be other tokens
    than the model has learned. Whitespace at the end of a context belongs to the choice for the same reason.

    Args:
        model: a causal one.
        contexts: B.
        choices: K for each context.
        front: a text in front of every context.
        kept: reads the front once, without gradients.

    Raises:
        ValueError: for an empty choice, or for a text that the model is too short for, which is never cut.
    """
    count = len(choices[0])
    rows = _rows(model, [front + context for context in contexts], choices)
    _check_length(model, rows, contexts, count)
    read, past = beginning(model, front, [row.ids[: row.start] for row in rows], kept)
    log_prob = _short(model, rows, count, read, past) if _all_short(rows, count) else _long(model, rows, read, past)
    lengths = torch.tensor([len(row.ids) - row.start for row in rows])
    said = [choice for each in choices for choice in each]
    return Scores(
        log_prob.view(-1, count),
        *(
            values.view(-1, count).to(log_prob.device)
            for values in (
                lengths,
                torch.tensor([len(choice) for choice in said]),
                torch.tensor([len(choice.encode()) for choice in said]),
            )
        ),
    )


def _rows(model: LanguageModel, contexts: Sequence[str], choices: Sequence[Sequence[str]]) -> list[_Row]:
    kept = [context.rstrip() for context in contexts]
    # a context that is nothing but whitespace keeps it out of sight of the choice, where the mark stands alone
    tails = [context[len(bare) :] if bare else "" for context, bare in zip(contexts, kept, strict=True)]
    texts = [bare + tail + choice for bare, tail, each in zip(kept, tails, choices, strict=True) for choice in each]
    before, whole = model.encode(kept), model.encode(texts)
    rows = []
    for b, each in enumerate(choices):
        for k, choice in enumerate(each):
            ids, context = whole[b * len(each) + k], before[b]
            start = _parting(ids, context)
            if start == len(ids):
                raise ValueError(f"the choice {choice!r} behind {contexts[b][-40:]!r} has no token; give a word")
            if start == 0:  # nothing to begin with but the mark of a beginning
                ids, start = [_mark(model), *ids], 1
            rows.append(_Row(ids, start))
    return rows


def _parting(ids: Sequence[int], context: Sequence[int]) -> int:
    for i, (one, other) in enumerate(zip(ids, context, strict=False)):
        if one != other:
            return i
    return min(len(ids), len(context))


def _mark(model: LanguageModel) -> int:
    mark = model.special.get("begin", model.special.get("end"))
    if mark is None:
        raise ValueError(
            "the context is empty, and the tokenizer has no mark of a beginning; put a word in front of the choices"
        )
    return mark


def _check_length(model: LanguageModel, rows: Sequence[_Row], contexts: Sequence[str], count: int) -> None:
    for i, row in enumerate(rows):
        if len(row.ids) > model.room:
            raise ValueError(
                f"the prompt that ends in {contexts[i // count][-60:]!r} has {len(row.ids)} tokens, but the model reads {model.room}; shorten "
                "the text, or take fewer demonstrations: nothing is cut"
            )


def _all_short(rows: Sequence[_Row], count: int) -> bool:
    """Whether each context is read once for all of its choices, which are of one token."""
    firsts = [rows[i - i % count] for i in range(len(rows))]
    return all(
        len(row.ids) == row.start + 1 and row.start == first.start and row.ids[:-1] == first.ids[:-1]
        for row, first in zip(rows, firsts, strict=True)
    )


def _short(model: LanguageModel, rows: Sequence[_Row], count: int, read: int, past: Past | None) -> Tensor:
    contexts = [rows[i].ids[read:-1] for i in range(0, len(rows), count)]
    scores: list[Tensor] = [torch.empty(0)] * len(contexts)
    packed = past is not None and past.length >= LONG and past.batch == 1 and past.mask is None and model.can_pack
    sizes = [*map(len, contexts)]
    for bucket in packs(sizes, PACKED) if packed else buckets(sizes, MOST_TOKENS):
        some = [contexts[i] for i in bucket]
        last = model.read_packed(some, cast(Past, past)) if packed else _padded(model, some, past)
        for of, i in zip(last.float().log_softmax(dim=-1), bucket, strict=True):
            scores[i] = of[[rows[i * count + k].ids[-1] for k in range(count)]]
    return torch.stack(scores).flatten()


def _padded(model: LanguageModel, contexts: Sequence[Sequence[int]], past: Past | None) -> Tensor:
    ids, lengths = pad(contexts, model.device)
    where, place = torch.unique(lengths - 1, return_inverse=True)
    logits, _ = model.read(ids, lengths, past, where)
    return logits[torch.arange(len(ids), device=ids.device), place]


def _long(model: LanguageModel, rows: Sequence[_Row], read: int, past: Past | None) -> Tensor:
    scores: list[Tensor] = [torch.empty(0)] * len(rows)
    for bucket in buckets([len(row.ids) for row in rows], MOST_TOKENS):
        some = [rows[i] for i in bucket]
        ids, lengths = pad([row.ids[read:-1] for row in some], model.device)
        first = min(row.start for row in some) - 1 - read
        where = torch.arange(first, ids.shape[1], device=ids.device)
        logits, _ = model.read(ids, lengths, past, where)
        for of, row, i in zip(logits, some, bucket, strict=True):
            wanted = torch.tensor(row.ids[row.start :], device=ids.device)
            begin = row.start - 1 - read - first
            said = of[begin : begin + len(wanted)].float().log_softmax(dim=-1)
            scores[i] = said.gather(1, wanted[:, None]).sum()
    return torch.stack(scores)
