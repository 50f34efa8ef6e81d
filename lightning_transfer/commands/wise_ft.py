"""WiSE-FT: between a model before and after fine-tuning there is often one that is better than both, most of all under shift."""

from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from lightning_transfer.data import ImageData
from lightning_transfer.files import write_csv
from lightning_transfer.merging.arithmetic import interpolate
from lightning_transfer.merging.evaluator import Evaluator, read_models
from lightning_transfer.merging.show import draw_curves, print_table
from lightning_transfer.runs import output_path

ALPHAS = tuple(step / 10 for step in range(11))


def wise_ft(
    tuned: str,
    source: str,
    data: ImageData | None = None,
    test_sets: dict[str, ImageData] | None = None,
    alphas: tuple[float, ...] = ALPHAS,
    metric: str = "accuracy",
    recompute_batch_norm: bool = False,
    out: str | None = None,
) -> Path:
    """Measure models on the line from a source to a fine-tuned model, and keep the one that is best on validation.

    Beside the checkpoint it writes the figures as CSV, and the curves as PNG. The test sets have no say in the choice; of equals
    the one nearer to the source is kept.

    Args:
        tuned: checkpoint of the fine-tuned model.
        source: checkpoint of the model before, of the same architecture and classes: a linear probe on the pretrained backbone.
        data: brings the validation images to choose by, and training images for batch norm; the tuned checkpoint's own if not given.
        test_sets: further data whose test split is measured beside that of `data`, by name.
        alphas: shares of the way from source to tuned, in [0, 1].
        metric: what to choose by, higher is better.
        recompute_batch_norm: whether batch-norm statistics between the ends are computed anew from the training images; otherwise they
            are interpolated like weights.
        out: checkpoint to write, ending in .ckpt; in a folder of its own beside the tuned one if not given.

    Returns:
        The path of the checkpoint.

    Reference:
        Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022.
    """
    steps = sorted(set(alphas))
    if not steps or steps[0] < 0 or steps[-1] > 1:
        raise ValueError(
            f"alphas={list(alphas)} must be numbers in [0, 1], at least one; 0 is the source, 1 the tuned model"
        )
    path = output_path("wise_ft", tuned, out)
    models = read_models([source, tuned])
    evaluator = Evaluator(tuned, data, test_sets, metric)

    def weights(alpha: float) -> Any:
        merged = interpolate(models[source], models[tuned], alpha)
        return evaluator.with_batch_norm(merged) if recompute_batch_norm and 0 < alpha < 1 else merged

    rows = []
    for alpha in steps:
        merged = weights(alpha)
        rows.append({"alpha": alpha, **evaluator.validate(merged), **evaluator.test(merged)})
        rank_zero_info(f"alpha={alpha:g}: val/{metric} {rows[-1][f'val/{metric}']:.4f}")
    best = max(rows, key=lambda row: row[f"val/{metric}"])  # the first of equals
    evaluator.write(weights(best["alpha"]), path)
    write_csv(rows, path.with_suffix(".csv"))
    shown = ["alpha", *(key for key in best if key.endswith(f"/{metric}"))]
    curves = [{key: row[key] for key in shown} for row in rows]
    draw_curves(curves, "alpha", best["alpha"], path.with_suffix(".png"))
    print_table(curves, f"from {source} (0) to {tuned} (1)")
    rank_zero_info(f"alpha={best['alpha']:g} is best on validation; next: lightning-transfer test --ckpt_path {path}")
    return path
