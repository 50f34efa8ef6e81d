"""What training adds to asking: a language model on film reviews, with 16 labels a class and with all, against the parameters that are trained.

usage: python scripts/bench/language_tuning.py [words few all ...] [--rows 150] [--seeds 3] [--steps 30] [--all_steps 100] [--out runs/language_tuning]
SmolLM2-135M-Instruct, template `{text} It was {label}.`. `words` fine-tunes all weights for each pair of label words, as table 2 of Gao et al.
2021 does with RoBERTa-large; `few` trains soft prompts of 1 to 100 entries, prefixes, LoRA and all weights with 16 labels a class, beside
a probe of a sentence encoder; `all` the same for some of them with all 7,050 labels in so many steps, one seed. Rates are those of the
configurations; none was chosen by test rows. A seed drives the choice of labels, the training and what is drawn. Results are kept below --out, and
a second call goes on. Draws accuracy against trained parameters as tuning.png below --out. The last line is one JSON object.
"""

import time
from argparse import Namespace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from common import once, parser, quiet_trainer, report_parts
from language_prompts import PAIRS, spread
from lightning.pytorch import seed_everything
from torch.optim import AdamW

from lightning_transfer import Optim
from lightning_transfer.asking import Choosing
from lightning_transfer.contracts import Embedded
from lightning_transfer.data import ReviewsData
from lightning_transfer.edits import LoRA, PrefixTuning, PTuning, SoftPrompt
from lightning_transfer.language import LanguageModel
from lightning_transfer.modules import LanguagePromptModule
from lightning_transfer.optim import WarmupCosine
from lightning_transfer.probes import LogisticProbe
from lightning_transfer.text_encoders import MiniLM

TEMPLATE = "{text} It was {label}."
ASKED = "Is this film review terrible or great? Answer with one word."
CLASSES = ["negative", "positive"]
FIGURES = ("accuracy", "accuracy_calibrated", "auroc")

WAYS: dict[str, tuple[Any, float]] = {  # edit and rate
    **{f"soft prompt {p}, text": (partial(SoftPrompt, tokens=p, text=ASKED), 1e-2) for p in (1, 5, 20, 100)},
    "soft prompt 20, vocabulary": (partial(SoftPrompt, tokens=20), 1e-2),
    "soft prompt 20, normal": (partial(SoftPrompt, tokens=20, init="normal"), 1e-2),
    "p-tuning 20": (partial(PTuning, tokens=20), 1e-3),
    "prefix 10, closed": (partial(PrefixTuning, tokens=10), 5e-3),
    "prefix, text": (partial(PrefixTuning, text=ASKED, start="text"), 5e-3),
    "LoRA 8": (partial(LoRA, rank=8, targets="q_proj|v_proj"), 5e-4),
    "all weights": (None, 1e-5),
}


def trained(args: Namespace, way: str, words: str, seed: int, few: bool, steps: int) -> dict[str, float]:
    """Train and test once."""
    edit, rate = WAYS[way]
    data = ReviewsData(
        batch_size=8 if few else 16, labels_per_class=16 if few else None, split_seed=seed, test_rows=args.rows
    )
    seed_everything(seed)
    optim = Optim(partial(AdamW, lr=rate, weight_decay=0.0), partial(WarmupCosine, warmup=0.1))
    asking = Choosing(TEMPLATE, words.split("/"))
    edits = [] if edit is None else [edit()]
    module = LanguagePromptModule(LanguageModel(), asking, 2, optim, edits, class_names=CLASSES)
    begin = time.perf_counter()
    trainer = quiet_trainer(steps)
    trainer.fit(module, data)
    seconds = time.perf_counter() - begin
    (found,) = trainer.test(module, data, verbose=False)
    count = sum(p.numel() for p in module.parameters() if p.requires_grad)
    return {name: found[f"test/{name}"] for name in FIGURES} | {"trained": count, "seconds": seconds}


def untrained(args: Namespace, words: str, seed: int) -> dict[str, float]:
    module = LanguagePromptModule(LanguageModel(), Choosing(TEMPLATE, words.split("/")), 2, class_names=CLASSES)
    (found,) = quiet_trainer(1).test(
        module, ReviewsData(split_seed=seed, test_rows=args.rows, batch_size=50), verbose=False
    )
    return {name: found[f"test/{name}"] for name in FIGURES} | {"trained": 0, "seconds": 0.0}


def probed(args: Namespace, seed: int, few: bool) -> dict[str, float]:
    """Logistic regression on what a sentence encoder makes of the texts."""
    splits = ReviewsData(labels_per_class=16 if few else None, split_seed=seed, test_rows=args.rows).splits()
    encoder, begin = MiniLM(), time.perf_counter()
    sets = {
        name: Embedded(encoder([row["text"] for row in splits[name].fields]), splits[name].target)
        for name in ("train", "val", "test")
    }
    head = LogisticProbe().fit(sets["train"], sets["val"], 2).head
    seconds = time.perf_counter() - begin
    with torch.no_grad():
        right = (head(sets["test"].embedding).argmax(dim=1) == sets["test"].target).double().mean().item()
    return {"accuracy": right, "trained": sum(p.numel() for p in head.parameters()), "seconds": seconds}


def words(args: Namespace) -> dict[str, Any]:
    found = {}
    for pair in [PAIRS[0], PAIRS[1], PAIRS[4], PAIRS[5], PAIRS[6]]:
        for step, measure in {
            "before": lambda s, p: untrained(args, p, s),
            "after": lambda s, p: trained(args, "all weights", p, s, True, args.steps),
        }.items():
            folder = args.out / "words" / pair.replace("/", "_") / step
            each = [
                once(folder / str(s), lambda s=s, m=measure, p=pair: m(s, p))
                for s in range(args.seeds if step == "after" else 1)
            ]
            found[f"{pair} {step}"] = spread([one["accuracy"] for one in each])
        print(f"| {pair} | {found[f'{pair} before']} | {found[f'{pair} after']} |", flush=True)
    return found


def few(args: Namespace) -> dict[str, Any]:
    return _table(args, "few", args.ways, range(args.seeds), True, args.steps)


def everything(args: Namespace) -> dict[str, Any]:
    ways = ["soft prompt 20, text", "prefix 10, closed", "LoRA 8", "all weights"]
    return _table(args, "all", ways, range(1), False, args.all_steps)


def _table(args: Namespace, part: str, ways: list[str], seeds: range, few_labels: bool, steps: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    runs: dict[str, Any] = {
        "as it is": lambda s: untrained(args, PAIRS[0], s),
        "probe of MiniLM": lambda s: probed(args, s, few_labels),
        **{way: lambda s, w=way: trained(args, w, PAIRS[0], s, few_labels, steps) for way in ways},
    }
    for way, run in runs.items():
        folder = args.out / part / way.replace(" ", "_").replace(",", "")
        each = [once(folder / str(seed), lambda s=seed, r=run: r(s)) for seed in seeds]
        figures = {name: spread([one[name] for one in each]) for name in FIGURES if name in each[0]}
        seconds = sorted(one["seconds"] for one in each)[len(each) // 2]
        found[way] = figures | {"trained": each[0]["trained"], "seconds": round(seconds)}
        print(f"| {way} | {each[0]['trained']:,} | " + " | ".join(figures.values()) + f" | {seconds:.0f} |", flush=True)
    _draw(found, args.out / f"{part}.png", part)
    return found


def _draw(found: dict[str, Any], path: Path, part: str) -> None:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for way, row in found.items():
        mean, _, deviation = row["accuracy"].partition(" ± ")
        place = max(row["trained"], 100)
        axes.errorbar(place, float(mean), float(deviation or 0), fmt="o", capsize=3)
        axes.annotate(way, (place, float(mean)), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set(xscale="log", xlabel="trained parameters (none at the left edge)", ylabel="test accuracy, %")
    axes.margins(x=0.15)
    axes.set_title("16 labels a class" if part == "few" else "all labels")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)


def main() -> None:
    arguments = parser(__doc__)
    arguments.add_argument("--rows", type=int, default=150)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--steps", type=int, default=30)
    arguments.add_argument("--all_steps", type=int, default=100)
    arguments.add_argument("--ways", nargs="+", default=[*WAYS], choices=[*WAYS], help="of `few`")
    arguments.add_argument("--out", type=Path, default=Path("runs/language_tuning"))
    report_parts(arguments, {"words": words, "few": few, "all": everything})


if __name__ == "__main__":
    main()
