"""What a language model says when it is shown how: patterns of words by the number of examples, and word problems with and without reasoning.

usage: python scripts/bench/language_tasks.py [patterns reasoning ...] [--rows 20] [--problems 40] [--seeds 3] [--out runs/language_tasks]
SmolLM2-135M-Instruct, greedy. `patterns` goes on with `word => answer` lists of k examples drawn by so many seeds; `reasoning` answers
problems of one and two steps after four worked examples that show the answer, the equation, or the whole chain of thought, after the chain
with a vote over five samples, and without examples by "Let's think step by step.". Exact match. Results are kept below --out, and a second
call goes on. The last line is one JSON object.
"""

from argparse import Namespace
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from common import once, parser, report_parts
from language_prompts import model, spread

from lightning_transfer.asking import Saying
from lightning_transfer.contracts import TextBatch
from lightning_transfer.data import PatternData, WordProblemData
from lightning_transfer.demonstrations import RandomDemonstrations
from lightning_transfer.extraction import AnswerPhrase, FirstLine, LastNumber
from lightning_transfer.extraction.vote import majority

PATTERNS = ("plural", "past", "antonym", "capital", "upper", "french", "spanish")
SHOTS = (0, 1, 2, 4, 8)
QUESTION = "Q: {question}\nA: {label}"
WORKED = {
    "answer": "Q: {question}\nA: The answer is {label}.",
    "equation": "Q: {question}\nA: {equation}. The answer is {label}.",
    "chain of thought": "Q: {question}\nA: {reasoning} The answer is {label}.",
}


@torch.no_grad()
def said(data: Any, rows: int, asking: Saying) -> dict[str, float]:
    """Figures on the first rows of the test split."""
    splits = data.splits()
    asking.build(model(), None)
    asking.prepare(splits["train"], [], data.inputs)
    metrics, test = asking.metrics(), splits["test"]
    for i in range(0, min(rows, len(test.fields)), 20):
        here = slice(i, min(i + 20, rows))
        batch = TextBatch(test.fields[here], test.target[here], test.answer[here])
        answers = asking.say(model(), batch.fields)
        parsed = [[asking.extraction(text) for text in texts] for texts in answers]
        metrics.update(said=[majority(each) for each in parsed], samples=parsed, answer=[*batch.answer])
    return {name: value.item() for name, value in metrics.compute().items()}


@lru_cache
def problems(steps: int) -> WordProblemData:
    return WordProblemData(steps=steps)


def patterns(args: Namespace) -> dict[str, Any]:
    found = {}
    for pattern in PATTERNS:
        for k in SHOTS:
            each = []
            for seed in range(args.seeds if k else 1):
                shown = RandomDemonstrations(k, seed) if k else None
                asking = Saying(
                    "{word} => {label}",
                    FirstLine(),
                    max_new_tokens=8,
                    stop=["\n"],
                    demonstrations=shown,
                    separator="\n",
                )
                folder = args.out / pattern / str(k) / str(seed)
                each.append(once(folder, lambda p=pattern, a=asking: said(PatternData(p), args.rows, a)))
            found[f"{pattern} k={k}"] = spread([one["exact_match"] for one in each])
        print(f"| {pattern} | " + " | ".join(found[f"{pattern} k={k}"] for k in SHOTS) + " |", flush=True)
    return found


def reasoning(args: Namespace) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for steps in (1, 2):
        for way in (*WORKED, "five samples vote", "step by step"):
            each = []
            for seed in range(args.seeds if way != "step by step" else 1):
                folder = args.out / f"{steps}_steps" / way.replace(" ", "_") / str(seed)
                each.append(
                    once(folder, lambda w=way, s=seed, n=steps: said(problems(n), args.problems, _asking(w, s)))
                )
            found[f"{steps} {way}"] = {
                name: spread([one[name] for one in each]) for name in ("exact_match", "unparsed")
            }
            print(f"| {steps} | {way} | " + " | ".join(found[f"{steps} {way}"].values()) + " |", flush=True)
    return found


def _asking(way: str, seed: int) -> Saying:
    if way == "step by step":
        template = "Q: {question}\nA: Let's think step by step. {label}"
        return Saying(template, LastNumber(), max_new_tokens=80, stop=["\nQ:"], conclusion="Therefore, the answer is")
    worked = WORKED.get(way, WORKED["chain of thought"])
    options: dict[str, Any] = {"temperature": 0.7, "samples": 5, "seed": seed} if way == "five samples vote" else {}
    return Saying(
        QUESTION, AnswerPhrase(), max_new_tokens=64, stop=["\n"], demonstrations=RandomDemonstrations(4, seed), worked=worked,
        **options,
    )  # fmt: skip


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=20)
    arguments.add_argument("--problems", type=int, default=40)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--out", type=Path, default=Path("runs/language_tasks"))
    report_parts(arguments, {"patterns": patterns, "reasoning": reasoning})


if __name__ == "__main__":
    main()
