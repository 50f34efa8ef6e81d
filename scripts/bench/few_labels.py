"""From scratch, linear probe and fine-tuning at an equal budget of labels: one table, mean and spread over seeds.

usage: python scripts/bench/few_labels.py --out runs/demo [--config finetune/digits] [--seeds 3]
Prints a table and, as its last line, one JSON object. Nothing is selected on validation or test labels: last epochs are compared.
"""

import csv
import io
import shutil
import statistics
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

from common import parser, report, silence

WAYS = {
    "from scratch": ["--model.backbone.pretrained=false"],
    "linear probe": ["--model.edits+=lightning_transfer.edits.FreezeBackbone"],
    "fine-tuning": [],
}


def run_once(config: str, out: Path, extra: list[str], seed: int) -> tuple[float, float]:
    """Train and test one way with one seed; returns test accuracy and the training's seconds."""
    from lightning_transfer.cli import TransferCLI

    if out.exists():
        shutil.rmtree(out)
    quiet = ["--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false"]
    arguments = ["--config", config, *extra, *quiet, f"--seed_everything={seed}", f"--data.split_seed={seed}"]
    begin = time.perf_counter()
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        cli = TransferCLI(["fit", *arguments, f"--trainer.default_root_dir={out}"])
        seconds = time.perf_counter() - begin
        (result,) = cli.trainer.test(cli.model, datamodule=cli.datamodule, verbose=False)
    return result["test/accuracy"], seconds


def main() -> None:
    """Run all, print the table, and keep the first fine-tuned checkpoint."""
    arguments = parser(__doc__)
    arguments.add_argument("--config", default="finetune/digits")
    arguments.add_argument("--out", type=Path, default=Path("runs/few_labels"))
    arguments.add_argument("--seeds", type=int, default=3)
    args = arguments.parse_args()
    silence()

    rows = []
    for way, extra in WAYS.items():
        results = []
        for seed in range(args.seeds):
            accuracy, seconds = run_once(args.config, args.out / way.replace(" ", "_") / str(seed), extra, seed)
            print(f"  {way}, seed {seed}: accuracy {100 * accuracy:.1f} % in {seconds:.0f} s", flush=True)
            results.append((100 * accuracy, seconds))
        accuracies, times = zip(*results, strict=True)
        spread = statistics.stdev(accuracies) if len(accuracies) > 1 else 0.0
        rows.append(
            {
                "way": way,
                "accuracy": statistics.mean(accuracies),
                "deviation": spread,
                "seconds": statistics.median(times),
            }
        )
    shutil.copy(args.out / "fine-tuning" / "0" / "best.ckpt", args.out / "best.ckpt")
    with (args.out / "table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    print(f"\n{'way':<14}  {'test accuracy, mean ± deviation':>32}  {'seconds':>7}")
    for row in rows:
        print(f"{row['way']:<14}  {row['accuracy']:>22.1f} ± {row['deviation']:.1f} %  {row['seconds']:>9.0f}")
    report({"seeds": args.seeds, "ways": rows})


if __name__ == "__main__":
    main()
