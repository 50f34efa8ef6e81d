"""Soup: the mean of models fine-tuned from one start, which costs no more than one of them."""

from pathlib import Path
from typing import Literal

from lightning.pytorch.utilities import rank_zero_info

from lightning_transfer.data import ImageData
from lightning_transfer.files import write_csv
from lightning_transfer.merging.evaluator import Evaluator, read_models
from lightning_transfer.merging.show import print_table
from lightning_transfer.merging.soups import greedy_soup, uniform_soup
from lightning_transfer.runs import output_path

_RECIPES = {"uniform": uniform_soup, "greedy": greedy_soup}


def soup(
    ckpt_paths: list[str],
    how: Literal["uniform", "greedy"] = "greedy",
    data: ImageData | None = None,
    metric: str = "accuracy",
    out: str | None = None,
) -> Path:
    """Average the weights of checkpoints, and write the mean as a checkpoint.

    Batch-norm statistics of a mean are computed anew from the training images. Models are chosen on the validation split, and no
    test image is looked at. What each model reaches is written beside the checkpoint as CSV.

    Args:
        ckpt_paths: checkpoints of one architecture and the same classes, fine-tuned from the same pretrained weights.
        how: `uniform` takes all; `greedy` begins with the best and takes each other one if validation does not drop.
        data: brings training and validation images; the first checkpoint's own if not given.
        metric: what to choose by, higher is better.
        out: checkpoint to write, ending in .ckpt; in a folder of its own beside the first one if not given.

    Returns:
        The path of the checkpoint.

    Reference:
        Wortsman et al., "Model soups: averaging weights of multiple fine-tuned models improves accuracy without increasing
        inference time", ICML 2022.
    """
    models = read_models(ckpt_paths)
    path = output_path("soup", ckpt_paths[0], out)
    evaluator = Evaluator(ckpt_paths[0], data, metric=metric)
    made = _RECIPES[how](models, evaluator.score, evaluator.with_batch_norm)
    evaluator.write(made.weights, path)
    rows = [trial._asdict() for trial in made.trials]
    write_csv(rows, path.with_suffix(".csv"))
    print_table(rows, f"val/{metric} of a {how} soup")
    kept = sum(trial.kept for trial in made.trials)
    rank_zero_info(
        f"a soup of {kept} of {len(models)} models reaches val/{metric} {made.score:.4f}; "
        f"next: lightning-transfer test --ckpt_path {path}"
    )
    return path
