"""Going on from prompts, many at once, until a stop."""

from collections.abc import Sequence

import torch
from torch import Tensor

from lightning_transfer.language.model import LanguageModel
from lightning_transfer.language.past import Past
from lightning_transfer.language.score import MOST_TOKENS
from lightning_transfer.language.shared import SharedPast, beginning, buckets, pad


@torch.no_grad()
def generate(
    model: LanguageModel,
    prompts: Sequence[str],
    max_new_tokens: int = 64,
    stop: Sequence[str] = (),
    temperature: float = 0.0,
    samples: int = 1,
    seed: int = 0,
    front: str = "",
    kept: SharedPast | None = None,
) -> list[list[str]]:
    """Continue prompts until the model ends, a stop appears, or there are tokens enough.

    Args:
        model: a causal one.
        prompts: B.
        max_new_tokens: of an answer.
        stop: an answer ends before the first of these.
        temperature: 0 takes the likeliest token each time; above 0 tokens are drawn, from scores divided by it.
        samples: answers to each prompt.
        seed: of the draws; those of a prompt depend on it and on the prompt's tokens alone.
        front: a text in front of every prompt.
        kept: reads the front once.

    Returns:
        B lists of `samples` answers

    Raises:
        ValueError: for values out of range, or a prompt that leaves no room for an answer, for nothing is cut.
    """
    _check(max_new_tokens, temperature, samples)
    rows = model.encode([front + prompt.rstrip(" ") for prompt in prompts])
    for prompt, row in zip(prompts, rows, strict=True):
        if len(row) + max_new_tokens > model.room:
            raise ValueError(
                f"the prompt that ends in {prompt[-60:]!r} has {len(row)} tokens, and with max_new_tokens={max_new_tokens} more than the "
                f"{model.room} that the model reads; shorten the text, or take fewer demonstrations: nothing is cut"
            )
    if empty := [prompt for prompt, row in zip(prompts, rows, strict=True) if not row]:
        raise ValueError(f"the prompt {empty[0]!r} has no token; put a word into the template")
    read, past = beginning(model, front, rows, kept)
    found: list[list[str]] = [[] for _ in rows]
    for bucket in buckets([len(row) - read for row in rows], max(1, MOST_TOKENS // samples)):
        ids, lengths = pad([rows[i][read:] for i in bucket], model.device)
        generators = [torch.Generator().manual_seed(_seed(seed, rows[i])) for i in bucket]
        said = _go_on(model, ids, lengths, past, max_new_tokens, [*stop], temperature, samples, generators)
        for j, i in enumerate(bucket):
            found[i] = said[j * samples : (j + 1) * samples]
    return found


def _check(max_new_tokens: int, temperature: float, samples: int) -> None:
    for name, value in (("max_new_tokens", max_new_tokens), ("samples", samples)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    if temperature < 0:
        raise ValueError(f"temperature={temperature} must be at least 0, which takes the likeliest token")
    if samples > 1 and temperature == 0:
        raise ValueError(f"samples={samples} of temperature=0 would all be the same; 0.5 to 1 are common")


def _seed(seed: int, row: Sequence[int]) -> int:
    return hash((seed, *row)) % 2**62  # of whole numbers, which Python hashes alike in every process


def _go_on(
    model: LanguageModel,
    ids: Tensor,
    lengths: Tensor,
    past: Past | None,
    most: int,
    stop: list[str],
    temperature: float,
    samples: int,
    generators: list[torch.Generator],
) -> list[str]:
    where, place = torch.unique(lengths - 1, return_inverse=True)
    logits, past = model.read(ids, lengths, past, where)
    scores = logits[torch.arange(len(ids), device=ids.device), place].repeat_interleave(samples, 0)
    past = past.repeat(samples) if samples > 1 else past
    tokens: list[list[int]] = [[] for _ in range(len(scores))]
    running = list(range(len(scores)))  # rows of the past, by their number among the answers
    while True:
        drawn = _draw(scores, running, temperature, samples, generators)
        for i, token in zip(running, drawn, strict=True):
            tokens[i].append(token)
        on = [j for j, i in enumerate(running) if not _done(model, tokens[i], most, stop)]
        if not on:
            break
        if len(on) < len(running):
            past = past.select(torch.tensor(on, device=ids.device))
        running = [running[j] for j in on]
        latest = torch.tensor([[tokens[i][-1]] for i in running], device=ids.device)
        logits, past = model.read(latest, latest.new_ones(len(running)), past)
        scores = logits[:, -1]
    return [_cut(model.decode(row), stop) for row in tokens]


def _draw(
    scores: Tensor, running: list[int], temperature: float, samples: int, generators: list[torch.Generator]
) -> list[int]:
    if temperature == 0:
        likeliest: list[int] = scores.argmax(dim=-1).tolist()
        return likeliest
    shares = (scores.float() / temperature).softmax(dim=-1).cpu()
    return [
        int(torch.multinomial(share, 1, generator=generators[i // samples]))
        for share, i in zip(shares, running, strict=True)
    ]


def _done(model: LanguageModel, tokens: list[int], most: int, stop: list[str]) -> bool:
    if len(tokens) >= most or tokens[-1] == model.special.get("end"):
        return True
    said = model.decode(tokens) if stop else ""
    return any(mark in said for mark in stop)


def _cut(said: str, stop: list[str]) -> str:
    """What stands before the first stop."""
    return said[: min([len(said), *(place for mark in stop if (place := said.find(mark)) >= 0)])]
