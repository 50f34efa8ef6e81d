"""What a language model that nothing trains answers on film reviews: by template and label words, by demonstrations, and by their order.

usage: python scripts/bench/language_prompts.py [words shots order ...] [--rows 200] [--seeds 3] [--out runs/language_prompts]
SmolLM2-135M-Instruct; accuracy raw, after contextual calibration, and area under the ROC curve, on so many test rows (the same for all).
`words` asks each template with each pair of words; `shots` the same template with k demonstrations drawn by so many seeds, balanced, beside
the most similar ones; `order` puts the same two positive and two negative ones in all six orders. Nothing is chosen here: the tables hold all
that was asked. Results are kept below --out, and a second call goes on. The last line is one JSON object.
"""

import csv
import statistics
from argparse import Namespace
from functools import lru_cache
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from common import once, parser, report_parts

from lightning_transfer.asking import Choosing
from lightning_transfer.commands.prompt_grid import prompt_grid
from lightning_transfer.contracts import TextBatch
from lightning_transfer.data import ReviewsData
from lightning_transfer.demonstrations import FixedDemonstrations, RandomDemonstrations, SimilarDemonstrations
from lightning_transfer.language import LanguageModel
from lightning_transfer.metrics.asked import choosing_metrics
from lightning_transfer.templates import read_templates, unescaped

PAIRS = ["terrible/great", "bad/good", "negative/positive", "awful/wonderful", "dog/cat", "cat/dog", "great/terrible"]
FIGURES = ("accuracy", "accuracy_calibrated", "auroc")
REVIEW = "Review: {text}\nSentiment: {label}"
WORDS = ["negative", "positive"]
SHOTS = (0, 1, 2, 4, 8, 16, 32)


@lru_cache
def model() -> LanguageModel:
    return LanguageModel().eval()


@lru_cache
def data(rows: int) -> ReviewsData:
    return ReviewsData(test_rows=rows)


@torch.no_grad()
def asked(rows: int, template: str, words: list[str], demonstrations: Any = None) -> dict[str, float]:
    """Figures on the test rows."""
    splits = data(rows).splits()
    shared = (
        demonstrations is None or demonstrations.shared
    )  # else each query has texts without content of its own: four times the work
    asking = Choosing(template, words, demonstrations=demonstrations, without_content=None if shared else [])
    asking.build(model(), ["negative", "positive"])
    asking.prepare(splits["train"], ["negative", "positive"], ["text"])
    metrics = choosing_metrics(["negative", "positive"], calibrated=shared)
    test = splits["test"]
    for i in range(0, len(test.fields), 50):
        batch = TextBatch(test.fields[i : i + 50], test.target[i : i + 50])
        metrics.update(**asking.measured(model(), batch)[1])
    return {name: value.item() for name, value in metrics.compute().items() if name in (*FIGURES, "share/positive")}


def words(args: Namespace) -> dict[str, Any]:
    folder = args.out / "words"

    def measure() -> dict[str, Any]:
        prompt_grid(
            model(),
            data(args.rows),
            "sst2",
            [pair.split("/") for pair in PAIRS],
            split="test",
            out=str(folder / "grid"),
        )
        with (folder / "grid" / "prompt_grid.csv").open(newline="") as file:
            return {
                f"{unescaped(row['template'])!r} {row['words']}": [float(row[name]) for name in FIGURES]
                for row in csv.DictReader(file)
            }

    found: dict[str, Any] = once(folder / "figures", measure)
    for template in read_templates("sst2", must=(), may=("text", "label")):
        cells = [found[f"{template!r} {pair}"] for pair in PAIRS]
        print(
            f"| `{template!r}` | "
            + " | ".join("/".join(f"{100 * value:.1f}" for value in cell) for cell in cells)
            + " |"
        )
    return found


def shots(args: Namespace) -> dict[str, Any]:
    found = {}
    for k in SHOTS:
        ways = {"random": lambda seed, k=k: RandomDemonstrations(k, seed) if k else None}
        if k in (4, 8):
            ways["similar"] = lambda _, k=k: SimilarDemonstrations(k)
        for way, make in ways.items():
            seeds = range(args.seeds if way == "random" and k else 1)
            each = [
                once(
                    args.out / "shots" / f"{way}_{k}" / str(seed),
                    lambda s=seed, m=make: asked(args.rows, REVIEW, WORDS, m(s)),
                )
                for seed in seeds
            ]
            found[f"{way} k={k}"] = {
                name: spread([one[name] for one in each]) if name in each[0] else "–" for name in FIGURES
            }
            print(f"| {way} | {k} | " + " | ".join(found[f"{way} k={k}"][name] for name in FIGURES) + " |", flush=True)
    return found


def order(args: Namespace) -> dict[str, Any]:
    train = data(args.rows).splits()["train"]
    found: dict[str, Any] = {}
    for seed in range(args.seeds):
        drawn = RandomDemonstrations(4, seed)
        drawn.prepare(train, 2, ["text"])
        rows = sorted(drawn.choose({"text": ""}), key=lambda i: int(train.target[i]))
        for marks in sorted(set(permutations("nnpp"))):
            left = {"n": rows[:2], "p": rows[2:]}
            chosen = [left[mark][marks[:i].count(mark)] for i, mark in enumerate(marks)]
            folder = args.out / "order" / "".join(marks) / str(seed)
            value = once(folder, lambda c=chosen: asked(args.rows, REVIEW, WORDS, FixedDemonstrations(c)))
            found.setdefault("".join(marks), []).append(value)
    table = {
        marks: {name: spread([one[name] for one in each]) for name in (*FIGURES, "share/positive")}
        for marks, each in found.items()
    }
    for marks, figures in table.items():
        print(f"| {', '.join(marks)} | " + " | ".join(figures.values()) + " |")
    spreads = [
        100 * (max(o) - min(o)) for o in ([each[s]["accuracy"] for each in found.values()] for s in range(args.seeds))
    ]
    print(
        f"from worst to best order of the same four, raw accuracy: {statistics.mean(spreads):.1f} points ({min(spreads):.1f} to {max(spreads):.1f})"
    )
    return table | {"range": spreads}


def spread(values: list[float]) -> str:
    deviation = f" ± {100 * statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{100 * statistics.mean(values):.1f}{deviation}"


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=200)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--out", type=Path, default=Path("runs/language_prompts"))
    report_parts(arguments, {"words": words, "shots": shots, "order": order})


if __name__ == "__main__":
    main()
