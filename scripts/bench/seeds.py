"""Test metrics of configurations over several seeds: mean and standard deviation, the figures in the configurations' headers.

usage: python scripts/bench/seeds.py finetune/stamps [finetune/emoji ...] [--split val] [--seeds 3] [--out runs/seeds] [--KEY VALUE ...]
A seed drives training, splits and the choice of few labels. Tested is best.ckpt, as after `fit`; KEYs are those of `fit`. What is
chosen is chosen with `--split val`, which looks at no test image.
Prints a table and, as its last line, one JSON object.
"""

import io
import shutil
import statistics
import time
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from common import parser, report, silence

QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


def train_and_test(
    config: str, out: Path, seed: int, extra: Sequence[str] = (), split: str = "test"
) -> tuple[dict[str, float], float]:
    """Train and test with one seed in a folder of its own; returns the metrics of the split and the training's seconds."""
    from lightning_transfer.cli import TransferCLI

    if out.exists():
        shutil.rmtree(out)
    seeds = [f"--seed_everything={seed}", f"--data.split_seed={seed}", f"--trainer.default_root_dir={out}"]
    begin = time.perf_counter()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        cli = TransferCLI(["fit", "--config", config, *extra, *QUIET, *seeds])
        seconds = time.perf_counter() - begin
        best = cli.trainer.checkpoint_callback.best_model_path
        measure = cli.trainer.test if split == "test" else cli.trainer.validate
        (result,) = measure(cli.model, datamodule=cli.datamodule, ckpt_path=best, weights_only=True, verbose=False)
    return result, seconds


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of a sample; the deviation of one value is 0."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def measure(config: str, seeds: int, out: Path, extra: Sequence[str], split: str) -> dict[str, object]:
    """Train and test one configuration with all seeds, print its metrics, and return them."""
    results, times = [], []
    for seed in range(seeds):
        result, seconds = train_and_test(config, out / config / str(seed), seed, extra, split)
        name = next(
            f"{split}/{metric}" for metric in ("accuracy", "mae", "image_to_text_r1") if f"{split}/{metric}" in result
        )
        print(f"  {config}, seed {seed}: {name} {result[name]:.4f} in {seconds:.0f} s", flush=True)
        results.append(result)
        times.append(seconds)
    figures = {name: mean_and_deviation([result[name] for result in results]) for name in results[0]}
    for name, (mean, deviation) in figures.items():
        print(f"{name:<24} {mean:.4f} ± {deviation:.4f}")
    print(f"{'seconds of training':<24} {statistics.median(times):.0f} (median)")
    rounded: dict[str, object] = {name: [round(value, 4) for value in pair] for name, pair in figures.items()}
    return {"seconds": round(statistics.median(times), 1), **rounded}


def main() -> None:
    """Measure one configuration after the other."""
    arguments = parser(__doc__)
    arguments.add_argument("configs", nargs="+")
    arguments.add_argument("--split", choices=("test", "val"), default="test")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--out", type=Path, default=Path("runs/seeds"))
    args, extra = arguments.parse_known_args()
    silence()
    found = {name: measure(name, args.seeds, args.out, extra, args.split) for name in args.configs}
    report({"seeds": args.seeds, **found})


if __name__ == "__main__":
    main()
