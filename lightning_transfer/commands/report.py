"""`lightning-transfer report`: what a checkpoint gets right and wrong, how certain the figures are, and how certain it is itself."""

from pathlib import Path

from lightning_transfer.data import ImageData
from lightning_transfer.data.named_sets import check_against_checkpoint
from lightning_transfer.devices import find_device
from lightning_transfer.models import Regressor
from lightning_transfer.modules import TransferModule
from lightning_transfer.reports import ClassReport, NumberReport, Report
from lightning_transfer.reports.score import score_all
from lightning_transfer.runs import run_folder


def report(
    ckpt_path: str,
    data: ImageData | None = None,
    test_sets: dict[str, ImageData] | None = None,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    sheet: int = 25,
    device: str = "auto",
    out: str | None = None,
) -> Path:
    """Run a checkpoint once over validation, test and named sets, and write what can be said of it into a folder.

    `headline.csv` has each metric with a bootstrap interval, for classes before and after temperature scaling; `per_class.csv` and
    `confusion.csv`, or `per_target.csv`, `worst.csv` and the pictures speak of the test split, or of the first named set where there
    is none; `report.json` has it all.

    Args:
        ckpt_path: checkpoint written by `fit`.
        data: what to measure on; the checkpoint's own if not given.
        test_sets: further data whose test split is measured, by name.
        resamples: of the bootstrap, at least 1.
        level: of the intervals, in (0, 1).
        seed: of the bootstrap.
        sheet: how many of the worst images `worst.png` shows, at least 1.
        device: where to compute, such as cuda:0; auto takes a GPU if there is one.
        out: the folder; one beside the checkpoint if not given.

    Returns:
        the folder

    Raises:
        FileNotFoundError, ValueError: for a file that is no checkpoint, other classes, or values out of range.
    """
    for name, value in (("resamples", resamples), ("sheet", sheet)):
        if value < 1:
            raise ValueError(f"{name}={value} must be at least 1")
    place = find_device(device)
    module: TransferModule = TransferModule.load_from_checkpoint(ckpt_path, map_location="cpu")
    data = data or ImageData.load_from_checkpoint(ckpt_path)
    data.add_test_sets(test_sets or {})
    check_against_checkpoint(data, module.class_names)
    scored = score_all(module, data, place)
    found: Report
    if isinstance(module.model, Regressor):
        found = NumberReport(scored, data, module.model.deviation.cpu(), resamples, level, seed)
    else:
        found = ClassReport(scored, data, resamples, level, seed)
    folder = Path(out) if out else run_folder("report", ckpt_path, "report")
    found.write(folder, ckpt_path, sheet)
    found.show(f"{ckpt_path} on {type(data).__name__}")
    print(f"written to {folder}")
    return folder
