"""A classifier cut down to two of its classes: pruned by images of these classes, by as many of all classes, or by magnitude.

usage: python scripts/bench/specialist.py --out runs/specialist [--config finetune/digits] [--seeds 3] [--tasks 3,8 4,9]
       [--sparsities 0.5 0.7 0.8 0.9] [--images 256] [--epochs 3] [--KEY VALUE ...]
One network a seed is fine-tuned on all classes and labels. For each task its head is narrowed, the other layers are pruned, and it is judged by
the test images of the task. KEYs are those of the training: --model.backbone=MLPBackbone --model.backbone.widths=[128,64]
--model.backbone.image_size=8 --data.image_size=8 --epochs 20 --sparsities 0.9 0.95 0.97 is the same on a small network, in two minutes.
Prints a table (test accuracy in %, mean ± deviation over seeds of the mean over tasks, as it is and with batch norms recomputed from the images
that it was pruned by) and, as its last line, one JSON object; what an earlier run of the same folder has measured is not measured again.
"""

from argparse import Namespace
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import cache
from pathlib import Path
from statistics import mean
from typing import Any

from common import once, parser, report, silence
from compression import accuracy
from seeds import mean_and_deviation, train_and_test

Levels = dict[float, dict[str, Any]]


def pruned(dense: Any, images: Any, way: Any, sparsities: Sequence[float]) -> Levels:
    """Weights of all layers but stem and head at each sparsity; each layer is looked at once."""
    from lightning_transfer.compression.gather import layers_in_order
    from lightning_transfer.compression.layers import choose_layers

    names = [*choose_layers(dense.model, [way]).layers]
    found: Levels = {sparsity: {} for sparsity in sparsities}
    for layer in layers_in_order(dense.model, names, images, 1.0):
        counts = [way.at(sparsity).plan({"": layer.weight})[""] for sparsity in sparsities]
        for sparsity, weight in zip(sparsities, way.solve_all(layer, counts), strict=True):
            found[sparsity][layer.name] = weight.float()
    return found


def judged(narrow: Any, data: Any, images: Any, levels: Levels) -> dict[str, dict[str, float]]:
    """Accuracy at each sparsity, without and with corrected batch norms."""
    from lightning_transfer.compression.rows import set_rows
    from lightning_transfer.merging import recompute_batch_norm

    found = {}
    for sparsity, weights in levels.items():
        module = deepcopy(narrow)
        for name, weight in weights.items():
            set_rows(module.model.get_submodule(name), weight)
        plain = accuracy(module, data)
        recompute_batch_norm(module.model, images)
        found[f"{sparsity:g}"] = {"plain": plain, "corrected": accuracy(module, data)}
    return found


def one_task(
    module: Any,
    checkpoint: Any,
    data: Any,
    task: list[int | str],
    general: Callable[[], tuple[Any, Levels]],
    args: Namespace,
) -> dict[str, Any]:
    """Narrow, prune in all ways, and judge."""
    from lightning_transfer.compression import ExactOBS, Magnitude, Unstructured
    from lightning_transfer.compression.calibration import CalibrationImages
    from lightning_transfer.compression.specialise import specialise
    from lightning_transfer.data import ClassSubsetData

    subset = ClassSubsetData(data, task)
    _, narrow = specialise(checkpoint, module, subset.numbers)
    narrow.setup("predict")  # lays out the weights
    own, (all_images, by_all) = CalibrationImages(subset, args.images, narrow.memory_format), general()
    way = ExactOBS(Unstructured(0.5), max_columns=args.max_columns)
    by_own = pruned(narrow, own, way, args.sparsities)
    by_magnitude = pruned(narrow, own, Magnitude(Unstructured(0.5)), args.sparsities)
    return {
        "dense": {"0": {"plain": accuracy(narrow, subset), "corrected": accuracy(narrow, subset)}},
        "magnitude": judged(narrow, subset, own, by_magnitude),
        "OBS, images of all classes": judged(narrow, subset, all_images, by_all),
        "OBS, the task's own images": judged(narrow, subset, own, by_own),
    }


def one_seed(seed: int, args: Namespace, extra: list[str]) -> list[dict[str, Any]]:
    """Train, and measure each task."""
    from lightning_transfer import TransferModule
    from lightning_transfer.checkpoint import read_checkpoint
    from lightning_transfer.compression import ExactOBS, Unstructured
    from lightning_transfer.compression.calibration import CalibrationImages
    from lightning_transfer.data import ImageData

    folder = args.out / str(seed)
    path = folder / "dense" / "best.ckpt"
    if not path.is_file():
        whole = ["--data.labels_per_class=null", f"--trainer.max_epochs={args.epochs}"]
        train_and_test(args.config, folder / "dense", seed, [*whole, *extra])
    module = TransferModule.load_from_checkpoint(path, map_location="cpu").eval()
    module.setup("predict")  # lays out the weights
    data = ImageData.load_from_checkpoint(path)

    @cache
    def general() -> tuple[Any, Levels]:
        images = CalibrationImages(data, args.images, module.memory_format)
        way = ExactOBS(Unstructured(0.5), max_columns=args.max_columns)
        return images, pruned(module, images, way, args.sparsities)

    found = []
    for task in args.tasks:

        def measured(task: str = task) -> dict[str, Any]:
            return one_task(module, read_checkpoint(path), data, [*task.split(",")], general, args)

        found.append(once(folder / task.replace(",", "_"), measured))
    return found


def main() -> None:
    """Train one network a seed, specialise it to each task in all ways, and print the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--config", default="finetune/digits")
    arguments.add_argument("--out", type=Path, default=Path("runs/specialist"))
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--tasks", nargs="+", default=["3,8", "4,9"])
    arguments.add_argument("--sparsities", type=float, nargs="+", default=[0.5, 0.7, 0.8, 0.9])
    arguments.add_argument("--images", type=int, default=256, help="for calibration, each time")
    arguments.add_argument("--epochs", type=int, default=3, help="of the fine-tuning")
    arguments.add_argument("--max_columns", type=int, default=600, help="of a layer that is pruned in the exact order")
    args, extra = arguments.parse_known_args()
    silence()

    seeds = [one_seed(seed, args, extra) for seed in range(args.seeds)]
    print(f"\n{'way':<30}{'zeros':>7}  {'as it is':>14}  {'norms corrected':>16}")
    rows = []
    for way, levels in seeds[0][0].items():
        for level in levels:
            of_seeds = {
                key: mean_and_deviation([mean(task[way][level][key] for task in tasks) for tasks in seeds])
                for key in ("plain", "corrected")
            }
            shown = "  ".join(f"{value:>8.2f} ± {spread:<5.2f}" for value, spread in of_seeds.values())
            print(f"{way:<30}{100 * float(level):>5.0f} %  {shown}")
            rows.append({"way": way, "zeros": float(level), **of_seeds})
    report({"seeds": args.seeds, "tasks": args.tasks, "ways": rows})


if __name__ == "__main__":
    main()
