"""From scratch, linear probe and fine-tuning at an equal budget of labels: one table, mean and spread over seeds.

usage: python scripts/bench/few_labels.py --out runs/demo [--config finetune/digits] [--seeds 3]
Prints a table and, as its last line, one JSON object. Nothing is selected on validation or test labels: last epochs are compared.
"""

import csv
import shutil
import statistics
from pathlib import Path

from common import parser, report, silence
from seeds import mean_and_deviation, train_and_test

# The probe has its own rate and sees the images as they are: on validation images of digits (seeds 0 to 2) augmentation cost it 3 points.
PROBE = [
    "--model.edits+=lightning_transfer.edits.FreezeBackbone",
    "--model.optim.optimizer.lr=0.0003",
    "--data.train_transform=lightning_transfer.data.EvalTransform",
    "--data.train_transform.crop=1.0",
]
WAYS = {"from scratch": ["--model.backbone.pretrained=false"], "linear probe": PROBE, "fine-tuning": []}


def main() -> None:
    """Run all, print the table, and keep the first fine-tuned checkpoint."""
    arguments = parser(__doc__)
    arguments.add_argument("--config", choices=("finetune/digits", "finetune/mnist"), default="finetune/digits")
    arguments.add_argument("--out", type=Path, default=Path("runs/few_labels"))
    arguments.add_argument("--seeds", type=int, default=3)
    args = arguments.parse_args()
    silence()

    rows = []
    for way, extra in WAYS.items():
        accuracies, times = [], []
        for seed in range(args.seeds):
            result, seconds = train_and_test(args.config, args.out / way.replace(" ", "_") / str(seed), seed, extra)
            accuracies.append(100 * result["test/accuracy"])
            times.append(seconds)
            print(f"  {way}, seed {seed}: accuracy {accuracies[-1]:.1f} % in {seconds:.0f} s", flush=True)
        mean, deviation = mean_and_deviation(accuracies)
        rows.append({"way": way, "accuracy": mean, "deviation": deviation, "seconds": statistics.median(times)})
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
