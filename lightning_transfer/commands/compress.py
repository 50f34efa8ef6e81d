"""`lightning-transfer compress`: from a checkpoint to one with fewer weights, or simpler ones."""

from collections.abc import Sequence
from pathlib import Path
from shutil import rmtree
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from lightning_transfer.checkpoint import read_checkpoint, write_changed
from lightning_transfer.compression import Bound, Budget, Compression
from lightning_transfer.compression.bound import last_that_holds
from lightning_transfer.compression.calibration import CalibrationImages
from lightning_transfer.compression.network import Inputs
from lightning_transfer.compression.run import Outcome, Run
from lightning_transfer.compression.specialise import specialise
from lightning_transfer.data import ClassSubsetData, ImageData
from lightning_transfer.data.named_sets import check_against_checkpoint
from lightning_transfer.devices import find_device
from lightning_transfer.files import write_csv
from lightning_transfer.modules import TransferModule
from lightning_transfer.parts import describe
from lightning_transfer.reports.compression import Judge, require_split, show, write_report
from lightning_transfer.runs import output_path


def compress(
    ckpt_path: str,
    compressions: list[Compression],
    data: ImageData | None = None,
    classes: list[int | str] | None = None,
    budget: Budget | None = None,
    bound: Bound | None = None,
    targets: str | None = None,
    images: int = 1024,
    inputs: Inputs = "dense",
    gigabytes: float = 1.0,
    recompute_batch_norm: bool = True,
    rounds: int = 15,
    resamples: int = 1000,
    level: float = 0.95,
    seed: int = 0,
    device: str = "auto",
    out: str | None = None,
) -> Path:
    """Compress the layers of a checkpoint's network, and write one that loads like any other.

    Beside the checkpoint it writes a table of the layers as CSV, and as JSON what there is to say of both networks: weights other than
    zero, bytes, latency and throughput as they were measured, and on the test split each metric with its interval and that of its
    change. Zeros and rounded weights make files that pack better; they make nothing faster by themselves, and the measured ratio says so.

    Layers that an interrupted run has finished are taken over by one with the same arguments and the same `out`.

    Args:
        ckpt_path: checkpoint written by `fit`.
        compressions: what each layer goes through, in this order: pruned and then rounded, for example.
        data: brings calibration images, from its training split, and test images; the checkpoint's own if not given.
        classes: at least two, by name or number, that the network is for from now on: its head keeps these alone, it is calibrated and
            judged by their images, and a training or test of the new checkpoint sees no others. All if not given.
        budget: lets layers share out among them what they would have if all were compressed alike.
        bound: searches for the strongest compression that validation allows; the test split has no say in it.
        targets: regular expression, searched in layer names such as `backbone.model.blocks.0.0.conv_pw`; if not given, all linear layers
            and convolutions but the first convolution and the head, and those that cannot be compressed so.
        images: for calibration, at least 1.
        inputs: whether a layer is fitted to what the dense network gives it, or to what compressed layers in front of it put out.
        gigabytes: of second moments at a time, in 10⁹ bytes; fewer mean more passes over the images.
        recompute_batch_norm: whether statistics of batch norms are computed anew from the calibration images. Frozen norms keep theirs.
        rounds: in which both networks are timed, one beside the other.
        resamples: of the bootstrap, at least 1.
        level: of the intervals, in (0, 1).
        seed: of the bootstrap.
        device: where to compute, such as cuda:0; auto takes a GPU if there is one.
        out: checkpoint to write, ending in .ckpt; in a folder of its own beside the first one if not given.

    Returns:
        The path of the checkpoint.

    Raises:
        FileNotFoundError, ValueError: for a file that is no checkpoint, data without the splits that it takes, layers that cannot be
            compressed so, classes that are none, a budget or bound that nothing keeps to, or values out of range.
    """
    if not compressions:
        raise ValueError("compressions=[] changes nothing; give at least one, ExactOBS for example")
    place, path = find_device(device), output_path("compress", ckpt_path, out)
    checkpoint = read_checkpoint(ckpt_path)
    module: TransferModule = TransferModule.load_from_checkpoint(ckpt_path, map_location="cpu")
    data = data or ImageData.load_from_checkpoint(ckpt_path)
    check_against_checkpoint(data, module.class_names)
    if classes is not None:
        data = ClassSubsetData(data, classes)
        checkpoint, module = specialise(checkpoint, module, data.numbers)
        checkpoint["datamodule_hyper_parameters"] = dict(data.hparams)
    require_split(data, "test", "to measure what compression costs")
    if bound is not None:
        require_split(data, "val", "by which bound could tell how much is lost")
    calibration = CalibrationImages(data, images, module.memory_format)
    module.to(place).eval().setup("predict")  # lays out the weights
    judge = Judge(module, data, place, resamples, level, seed)
    run = Run(module, calibration, targets, inputs, gigabytes, budget, recompute_batch_norm)
    folder, trials = path.with_suffix(".layers"), list[dict[str, Any]]()
    if bound is None:
        outcome = run(compressions, folder)
    else:
        outcome, compressions, trials = _strongest(bound, compressions, run, judge, folder)
    write_changed(checkpoint, path, state_dict=outcome.module.state_dict())
    figures = judge.all_figures(outcome.module, rounds)
    asked = {"checkpoint": ckpt_path, "compressions": describe(compressions), "classes": classes, **run.settings}
    _write(path, {**asked, "bound": describe(bound), "trials": trials}, figures, outcome)
    rmtree(folder, ignore_errors=True)
    show(figures, f"{ckpt_path}, compressed", level)
    rank_zero_info(f"compressed; next: lightning-transfer test --ckpt_path {path}")
    return path


def _strongest(
    bound: Bound, compressions: Sequence[Compression], run: Run, judge: Judge, folder: Path
) -> tuple[Outcome, list[Compression], list[dict[str, Any]]]:
    """Compress at some of the strengths, until the strongest is found that stays within the bound."""
    strengths = bound.ordered()
    for strength in strengths:
        run.check(bound.at(compressions, strength))
    judge.require(bound.metric)
    trials: list[dict[str, Any]] = []
    best: list[tuple[Outcome, list[Compression]]] = []

    def holds(number: int) -> bool:
        tried = bound.at(compressions, strengths[number])
        outcome = run(tried, folder / f"{strengths[number]:g}")
        drop = bound.drop(judge(outcome.module, "val")["change"][bound.metric])
        allowed = bound.allows(drop)
        trials.append({"strength": strengths[number], "drop": drop._asdict(), "allowed": allowed})
        rank_zero_info(
            f"{strengths[number]:g}: {bound.metric} is worse by {drop.value:.4f} ({drop.low:.4f} to {drop.high:.4f}) on validation, "
            f"{'within' if allowed else 'more than'} {bound.max_drop:g}"
        )
        if allowed:
            best[:] = [(outcome, tried)]
        return allowed

    if last_that_holds(len(strengths), holds) is None:
        rmtree(folder, ignore_errors=True)
        last = min(trials, key=lambda trial: strengths.index(trial["strength"]))
        raise ValueError(
            f"bound.max_drop={bound.max_drop}: even at {last['strength']:g} {bound.metric} is worse by {last['drop']['value']:.4f} on "
            f"validation ({last['drop']['low']:.4f} to {last['drop']['high']:.4f}); give weaker strengths, allow more"
            f"{', or let the drop itself count: confident=false' if bound.confident else ''}"
        )
    return *best[0], trials


def _write(path: Path, asked: dict[str, Any], figures: dict[str, Any], outcome: Outcome) -> None:
    rows = [layer._asdict() for layer in outcome.layers]
    spent = outcome.spent
    if spent is not None:
        asked = {**asked, "spent": {key: value for key, value in spent._asdict().items() if key != "plans"}}
    write_report(path.with_suffix(".json"), figures, **asked, layers=rows, left_out=outcome.left_out)
    write_csv(rows, path.with_suffix(".csv"))
