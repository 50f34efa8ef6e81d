"""Scoring of label words behind demonstrations: with the shared beginning read once against without, and against lm-evaluation-harness.

usage: python scripts/bench/language_speed.py [--rows 96] [--plain 24] [--shots 8] [--runs 3] [--busy]
SmolLM2-135M-Instruct on film reviews. `ratio_shared` is the rate with a shared beginning over that without (bar: 10); `tokens` is the ratio of
the tokens that are read. `ratio_harness` is our rate over that of the harness's HFLM on the same requests, in batches of its own choice among 1,
8 and 32, where `lm_eval` is installed (bar: 1.0; `same` of its answers are ours); it reads a prompt once for each word. Load time and memory of
the GGUF file are those of a process of their own, for the first and for later loads. Runs alternate. The last line is one JSON object.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from typing import Any

import torch
from common import median, parser, refuse_under_load, report, silence

from lightning_transfer.asking import Choosing
from lightning_transfer.data import ReviewsData
from lightning_transfer.demonstrations import RandomDemonstrations
from lightning_transfer.language import LanguageModel
from lightning_transfer.language.score import choice_scores

WORDS = ["negative", "positive"]


@torch.no_grad()
def ours(model: LanguageModel, asking: Choosing, rows: Any, shared: bool) -> tuple[float, list[int]]:
    """Seconds a row, and the answers."""
    asking.forget()
    begin, found = time.perf_counter(), []
    for i in range(0, len(rows), 32):
        group = rows[i : i + 32]
        if shared:
            found += asking.logits(model, group).argmax(dim=1).tolist()
            continue
        for row in group:  # the whole prompt for every row, as a loop without a cache does
            (prompts,) = asking.prompts(model, [row], 2)
            scores = choice_scores(model, [prompts.front + prompts.before[0]], [asking.said])
            found += scores.log_prob.argmax(dim=1).tolist()
    return (time.perf_counter() - begin) / len(rows), found


def harness(model: LanguageModel, asking: Choosing, rows: Any, batch: int) -> tuple[float, list[int]]:
    """The same requests through lm-evaluation-harness."""
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoTokenizer

    lm = HFLM(
        pretrained=model.model, tokenizer=AutoTokenizer.from_pretrained(model.source), batch_size=batch, max_length=2048
    )
    (prompts,) = asking.prompts(model, rows, 2)
    requests = [
        Instance("loglikelihood", {}, (prompts.front + before.rstrip(), f"{before[len(before.rstrip()) :]}{word}"), 0)
        for before in prompts.before
        for word in asking.said
    ]
    begin = time.perf_counter()
    scores = torch.tensor([score for score, _ in lm.loglikelihood(requests, disable_tqdm=True)]).view(-1, 2)
    return (time.perf_counter() - begin) / len(rows), scores.argmax(dim=1).tolist()


def load_once() -> None:
    """Load the packaged model, and print the seconds and the peak of memory in MB."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    begin = time.perf_counter()
    LanguageModel()
    print(
        json.dumps([time.perf_counter() - begin, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024])
    )


def loaded() -> dict[str, float]:
    """The first load, which converts, and a later one."""
    with tempfile.TemporaryDirectory() as cache:
        environment = {**os.environ, "LIGHTNING_TRANSFER_CACHE": cache}
        runs = [
            json.loads(subprocess.run([sys.executable, __file__, "--load"], env=environment, check=True, capture_output=True, text=True).stdout.splitlines()[-1])
            for _ in range(2)
        ]  # fmt: skip
    (first, first_memory), (later, later_memory) = runs
    return {"first_load_s": first, "first_load_mb": first_memory, "later_load_s": later, "later_load_mb": later_memory}


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=96)
    arguments.add_argument(
        "--plain", type=int, default=24, help="rows that are scored without a shared beginning, and by the harness"
    )
    arguments.add_argument("--shots", type=int, default=8)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--busy", action="store_true", help="measure although other processes are running")
    arguments.add_argument("--load", action="store_true", help="only load the model")
    args = arguments.parse_args()
    silence()
    if args.load:
        load_once()
        return
    if not args.busy:
        refuse_under_load()
    figures = loaded()  # before this process holds a model: its size would pass for that of the processes it starts
    report(measured(args) | figures)


def measured(args: Namespace) -> dict[str, Any]:
    model = LanguageModel().eval()
    splits = ReviewsData(test_rows=args.rows).splits()
    rows = splits["test"].fields
    asking = Choosing("Review: {text}\nSentiment: {label}", WORDS, demonstrations=RandomDemonstrations(args.shots))
    asking.build(model, WORDS)
    asking.prepare(splits["train"], WORDS, ["text"])
    ways: dict[str, Any] = {
        "shared": lambda: ours(model, asking, rows, True),
        "plain": lambda: ours(model, asking, rows[: args.plain], False),
    }
    try:
        import lm_eval  # noqa: F401

        ways |= {
            f"harness {batch}": lambda b=batch: harness(model, asking, rows[: args.plain], b) for batch in (1, 8, 32)
        }
    except ModuleNotFoundError:
        print("lm_eval is not installed: no comparison with it")
    times: dict[str, list[float]] = {name: [] for name in ways}
    answers: dict[str, list[int]] = {}
    for _ in range(args.runs):
        for name, way in ways.items():
            seconds, answers[name] = way()
            times[name].append(seconds)
    for name, each in times.items():
        print(f"{name:<12} {median([1 / seconds for seconds in each], ' rows/s', 2)}")
    found: dict[str, Any] = {"ratio_shared": _ratio(times["plain"], times["shared"])}
    found["tokens"] = _tokens(model, asking, rows)
    found["same_plain"] = sum(a == b for a, b in zip(answers["plain"], answers["shared"], strict=False)) / args.plain
    if len(ways) > 2:
        best = min(
            (name for name in ways if name.startswith("harness")), key=lambda name: statistics.median(times[name])
        )
        found |= {"harness": best, "ratio_harness": _ratio(times[best], times["shared"])}
        found["same"] = sum(a == b for a, b in zip(answers[best], answers["shared"], strict=False)) / args.plain
    return found


def _tokens(model: LanguageModel, asking: Choosing, rows: Any) -> float:
    """Tokens that are read without a shared beginning, over those that are read with it."""
    (prompts,) = asking.prompts(model, rows, 2)
    (front,) = model.encode([prompts.front])
    whole = sum(len(ids) for ids in model.encode([prompts.front + before for before in prompts.before]))
    return whole / (whole - (len(rows) - 1) * len(front))


def _ratio(slower: list[float], faster: list[float]) -> float:
    return statistics.median(a / b for a, b in zip(slower, faster, strict=True))


if __name__ == "__main__":
    main()
