"""Test metrics of configurations over several seeds: mean and standard deviation, the figures in the configurations' headers.

usage: python scripts/bench/seeds.py finetune/stamps [finetune/emoji ...] [--first CONFIG] [--split val] [--seeds 3] [--out runs/seeds] [--KEY VALUE ...]
A seed drives training, splits and the choice of few labels or novel classes. Tested is best.ckpt, as after `fit`; a configuration whose header
says `test` is tested without a training. KEYs are those of its command. `--first finetune/digits` trains that one before, with the same
seed, and the others begin at its best.ckpt, in the place of the .../digits/best.ckpt that they name. What is
chosen is chosen with `--split val`, which looks at no test image. An interrupted run goes on where it was: what has been measured of a recipe
with the same KEYs is not measured again.
Prints a table and, as its last line, one JSON object.
"""

import io
import json
import re
import shutil
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path

import yaml
from common import parser, report, silence

QUIET = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep a run's output back, unless it fails."""
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            yield
    except (Exception, SystemExit):
        print(said.getvalue(), file=sys.stderr)
        raise


def split_key(recipe: str) -> str:
    """The key of the seed that divides images, or the classes that episodes are drawn of."""
    key, data = "data", yaml.safe_load(recipe)["data"]
    while isinstance(data := data.get("init_args", {}).get("data"), dict):
        key += ".data"
    return f"--{key}.split_seed"


def train_and_test(
    config: str, out: Path, seed: int, extra: Sequence[str] = (), split: str = "test", recipe: str | None = None
) -> tuple[dict[str, float], float]:
    """Train and test with one seed in a folder of its own; returns the metrics of the split and the training's seconds.

    Args:
        config: a name or a file; where its header has it tested without a training, the seconds are those of the test.
        out: the folder.
        seed: of training and splits.
        extra: flags of the command.
        split: test or val.
        recipe: the configuration's text, if it is not to be as it stands.
    """
    from lightning_transfer.cli import TransferCLI
    from lightning_transfer.configs_path import find_config

    recipe = recipe or Path(find_config(config)).read_text()
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / "recipe.yaml").write_text(recipe)
    seeds = [f"--seed_everything={seed}", f"{split_key(recipe)}={seed}", f"--trainer.default_root_dir={out}"]
    arguments = ["--config", str(out / "recipe.yaml"), *extra, *QUIET, *seeds]
    begin = time.perf_counter()
    with quiet():
        if f" test --config {config}" in recipe and f" fit --config {config}" not in recipe:
            cli = TransferCLI(["test" if split == "test" else "validate", *arguments])
            result = {name: float(value) for name, value in cli.trainer.callback_metrics.items()}
            return result, time.perf_counter() - begin
        cli = TransferCLI(["fit", *arguments])
        seconds = time.perf_counter() - begin
        best = cli.trainer.checkpoint_callback.best_model_path
        measure = cli.trainer.test if split == "test" else cli.trainer.validate
        sets = measure(cli.model, datamodule=cli.datamodule, ckpt_path=best, weights_only=True, verbose=False)
    return {name: float(value) for metrics in sets for name, value in metrics.items()}, seconds


def figures_of(
    config: str, out: Path, seed: int, extra: Sequence[str], split: str, first: str | None
) -> tuple[dict[str, float], float]:
    """What `train_and_test` finds, or has found before by the same recipe and flags, behind the training that it begins at."""
    folder = out / config / str(seed)
    asked = {"recipe": recipe_behind(first, config, out, seed), "extra": list(extra), "split": split}
    kept = folder / "figures.json"
    if not kept.is_file() or json.loads(kept.read_text())["asked"] != asked:
        found = train_and_test(config, folder, seed, extra, split, asked["recipe"])
        kept.write_text(json.dumps({"asked": asked, "figures": found}))
    result, seconds = json.loads(kept.read_text())["figures"]
    return result, seconds


def recipe_behind(first: str | None, config: str, out: Path, seed: int) -> str:
    """The text of a configuration; what it begins at, if that is to be trained before, is trained and named in it."""
    from lightning_transfer.configs_path import find_config

    text = Path(find_config(config)).read_text()
    if first is None:
        return text
    named = re.compile(rf"[\w/]+/{re.escape(Path(first).name)}/best\.ckpt")
    if not named.search(text):
        raise ValueError(f"{config} names no {Path(first).name}/best.ckpt, so it does not begin at {first}")
    figures_of(first, out, seed, (), "test", None)
    return named.sub(lambda _: str(out / first / str(seed) / "best.ckpt"), text)


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation of a sample; the deviation of one value is 0."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def measure(
    config: str, seeds: int, out: Path, extra: Sequence[str], split: str, first: str | None = None
) -> dict[str, object]:
    """Train and test one configuration with all seeds, print its metrics, and return them."""
    results, times = [], []
    for seed in range(seeds):
        result, seconds = figures_of(config, out, seed, extra, split, first)
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
    arguments.add_argument("--first")
    arguments.add_argument("--split", choices=("test", "val"), default="test")
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--out", type=Path, default=Path("runs/seeds"))
    args, extra = arguments.parse_known_args()
    silence()
    found = {name: measure(name, args.seeds, args.out, extra, args.split, args.first) for name in args.configs}
    report({"seeds": args.seeds, **found})


if __name__ == "__main__":
    main()
