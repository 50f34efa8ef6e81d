"""Accuracy against sparsity and bits, of a fine-tuned network: by magnitude, with a refit, by OBS, with batch norm corrected or not, trained on or not.

usage: python scripts/bench/compression.py --out runs/compression [--config finetune/digits] [--seeds 3] [--sparsities 0.5 0.7 0.8 0.9 0.95]
       [--bits 8 4 3 2] [--steps 60] [--KEY VALUE ...]
`trained` has gone on for so many steps with its zeros kept, on the labels that the dense network had. KEYs are those of the training:
--config finetune/mnist --model.backbone.name=resnet10t --model.backbone.pretrained=false --data.image_size=32 --data.labels_per_class=100
measures a ResNet from random weights.
Prints a table (test accuracy in %, mean ± deviation over seeds) and, as its last line, one JSON object; what an earlier run of the same
folder has measured is not measured again. No speed is measured: zeros and rounded weights have none.
"""

import statistics
import time
from argparse import Namespace
from copy import deepcopy
from pathlib import Path
from typing import Any

from common import once, parser, quiet_trainer, report, silence
from seeds import mean_and_deviation, train_and_test


def ways(args: Namespace) -> dict[str, tuple[list[Any], int]]:
    """What is compared, by name: compressions, and the steps of training behind them."""
    from lightning_transfer.compression import GPTQ, NM, ExactOBS, Magnitude, RoundToNearest, Unstructured

    class Remembering(ExactOBS):
        """Traces a layer once for all sparsities."""

        def trace(self, layer: Any) -> Any:
            if layer.name not in traces:
                traces[layer.name] = super().trace(layer)
            return traces[layer.name]

    traces: dict[str, Any] = {}
    made: dict[str, list[Any]] = {"dense": []}
    trained: dict[str, list[Any]] = {}
    for sparsity in args.sparsities:
        layer, model = Unstructured(sparsity), Unstructured(sparsity, across="model")
        made[f"magnitude {sparsity:g}"] = [Magnitude(layer)]
        made[f"magnitude, all layers {sparsity:g}"] = [Magnitude(model)]
        made[f"magnitude, refit {sparsity:g}"] = [Magnitude(layer, refit=True)]
        made[f"OBS {sparsity:g}"] = [Remembering(layer, max_columns=args.max_columns)]
        made[f"OBS, all layers {sparsity:g}"] = [Remembering(model, max_columns=args.max_columns)]
        trained[f"magnitude, all layers, trained {sparsity:g}"] = made[f"magnitude, all layers {sparsity:g}"]
        trained[f"OBS, trained {sparsity:g}"] = made[f"OBS {sparsity:g}"]
    for n, m in ((2, 4), (4, 8)):
        made[f"magnitude {n}:{m}"] = [Magnitude(NM(n, m))]
        made[f"magnitude, refit {n}:{m}"] = [Magnitude(NM(n, m), refit=True)]
        made[f"OBS {n}:{m}"] = [ExactOBS(NM(n, m), max_columns=args.max_columns)]
    for bits in args.bits:
        made[f"nearest {bits} bits"] = [RoundToNearest(bits)]
        made[f"GPTQ {bits} bits"] = [GPTQ(bits)]
    return {way: (each, 0) for way, each in made.items()} | {way: (each, args.steps) for way, each in trained.items()}


def measure(dense: Any, data: Any, compressions: list[Any], steps: int, args: Namespace) -> dict[str, float]:
    """Accuracy without and with corrected batch norms, or after training, the sparsity of the layers concerned, and the seconds that it took."""
    from lightning_transfer.compression.calibration import CalibrationImages
    from lightning_transfer.compression.layers import choose_layers
    from lightning_transfer.compression.network import compress_network
    from lightning_transfer.merging import recompute_batch_norm

    module, rows, seconds = deepcopy(dense), [], 0.0
    images = CalibrationImages(data, args.images, module.memory_format)
    if compressions:
        layers = choose_layers(module.model, compressions, args.targets).layers
        begun = time.perf_counter()
        rows = compress_network(module.model, layers, compressions, images)
        seconds = time.perf_counter() - begun
    plain = accuracy(module, data)
    recompute_batch_norm(module.model, images)
    if steps:
        train_on(module, data, steps)
    zeros = sum(row.zeros for row in rows) / max(1, sum(row.weights for row in rows))
    return {"plain": plain, "corrected": accuracy(module, data), "sparsity": zeros, "seconds": seconds}


def train_on(module: Any, data: Any, steps: int) -> None:
    """Fine-tune with the zeros kept, at a third of the rate that the dense network began with."""
    from functools import partial

    from torch.optim import AdamW

    from lightning_transfer import Optim
    from lightning_transfer.callbacks import KeepZeros
    from lightning_transfer.optim import WarmupCosine

    module.optim = Optim(partial(AdamW, lr=3e-4, weight_decay=0.05), partial(WarmupCosine, warmup=0.1))
    quiet_trainer(steps, callbacks=[KeepZeros()]).fit(module.train(), data)


def accuracy(module: Any, data: Any) -> float:
    """Of the test split, in %."""
    import torch

    from lightning_transfer.reports.score import score, tested

    data.setup("test")
    found = score(module.eval(), tested(data)["test"], torch.device("cpu"))
    return 100 * (found.logits.argmax(1) == found.target).float().mean().item()


def main() -> None:
    """Train one network a seed, compress it in all ways, and print the table."""
    arguments = parser(__doc__)
    arguments.add_argument("--config", default="finetune/digits")
    arguments.add_argument("--out", type=Path, default=Path("runs/compression"))
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--sparsities", type=float, nargs="+", default=[0.5, 0.7, 0.8, 0.9, 0.95])
    arguments.add_argument("--bits", type=int, nargs="+", default=[8, 4, 3, 2])
    arguments.add_argument("--steps", type=int, default=60, help="of training a pruned network further")
    arguments.add_argument("--images", type=int, default=1000, help="for calibration")
    arguments.add_argument("--max_columns", type=int, default=600, help="of a layer that is pruned in the exact order")
    arguments.add_argument("--targets", help="regular expression of layer names, for a trial")
    args, extra = arguments.parse_known_args()
    silence()

    found: dict[str, list[dict[str, float]]] = {}
    for seed in range(args.seeds):
        one_seed(seed, args, extra, found)
    print(f"\n{'way':<36}{'zeros':>7}  {'as it is':>14}  {'norms corrected':>16}  {'seconds':>7}")
    rows = []
    for way, runs in found.items():
        plain, corrected = (mean_and_deviation([run[key] for run in runs]) for key in ("plain", "corrected"))
        seconds, zeros = (statistics.median(run[key] for run in runs) for key in ("seconds", "sparsity"))
        print(
            f"{way:<36}{100 * zeros:>5.1f} %  {plain[0]:>7.1f} ± {plain[1]:<4.1f}  {corrected[0]:>9.1f} ± {corrected[1]:<4.1f}  {seconds:>7.1f}"
        )
        rows.append({"way": way, "zeros": zeros, "plain": plain, "corrected": corrected, "seconds": seconds})
    report({"seeds": args.seeds, "ways": rows})


def one_seed(seed: int, args: Namespace, extra: list[str], found: dict[str, list[dict[str, float]]]) -> None:
    """Train, compress in all ways, and add what they reach."""
    from lightning_transfer import TransferModule
    from lightning_transfer.data import ImageData

    folder = args.out / str(seed)
    checkpoint = folder / "training" / "best.ckpt"
    if not checkpoint.is_file():
        train_and_test(args.config, checkpoint.parent, seed, extra)
    module = TransferModule.load_from_checkpoint(checkpoint, map_location="cpu").eval()
    module.setup("predict")  # lays out the weights
    data = ImageData.load_from_checkpoint(checkpoint)
    for way, (compressions, steps) in ways(args).items():
        name = way.replace(", ", "_").replace(" ", "_").replace(":", "_")

        def measured(compressions: list[Any] = compressions, steps: int = steps) -> dict[str, float]:
            return measure(module, data, compressions, steps, args)

        found.setdefault(way, []).append(once(folder / name, measured))


if __name__ == "__main__":
    main()
