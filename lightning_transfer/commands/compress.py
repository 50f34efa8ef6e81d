"""`lightning-transfer compress`: from a checkpoint to one with fewer weights, or simpler ones."""

from copy import deepcopy
from pathlib import Path

from lightning.pytorch.utilities import rank_zero_info
from rich.progress import Progress

from lightning_transfer.checkpoint import read_checkpoint, write_changed
from lightning_transfer.compression import Compression
from lightning_transfer.compression.calibration import CalibrationImages
from lightning_transfer.compression.kept import KeptLayers
from lightning_transfer.compression.layers import Choice, choose_layers
from lightning_transfer.compression.network import CompressedLayer, Inputs, compress_network
from lightning_transfer.data import ImageData
from lightning_transfer.data.named_sets import check_against_checkpoint
from lightning_transfer.devices import find_device
from lightning_transfer.files import write_csv
from lightning_transfer.hashes import of_module, of_source, of_transform
from lightning_transfer.merging.batch_norm import recompute_batch_norm as recompute
from lightning_transfer.modules import TransferModule
from lightning_transfer.parts import describe
from lightning_transfer.reports.compression import judge, require_test_split, show, write_report
from lightning_transfer.runs import output_path


def compress(
    ckpt_path: str,
    compressions: list[Compression],
    data: ImageData | None = None,
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
        FileNotFoundError, ValueError: for a file that is no checkpoint, data without training images, layers that cannot be compressed
            so, or values out of range.
    """
    if not compressions:
        raise ValueError("compressions=[] changes nothing; give at least one, ExactOBS for example")
    place, path = find_device(device), output_path("compress", ckpt_path, out)
    module: TransferModule = TransferModule.load_from_checkpoint(ckpt_path, map_location="cpu")
    data = data or ImageData.load_from_checkpoint(ckpt_path)
    check_against_checkpoint(data, module.class_names)
    require_test_split(data)
    choice = choose_layers(module.model, compressions, targets)
    calibration = CalibrationImages(data, images, module.memory_format)
    module.to(place).eval().setup("predict")  # lays out the weights
    dense = deepcopy(module)
    settings = {
        "compressions": describe(compressions), "layers": [*choice.layers], "images": images, "inputs": inputs,
        "weights": of_module(module.model), "data": of_source(data.splits()["train"]), "transform": of_transform(data.train_set.transform),
    }  # fmt: skip
    kept = KeptLayers(path.with_suffix(".layers"), settings)
    layers = _run(module, choice, compressions, calibration, inputs, gigabytes, kept)
    if recompute_batch_norm:
        recompute(module.model, (batch.to(place) for batch in calibration))
    write_changed(read_checkpoint(ckpt_path), path, state_dict=module.state_dict())
    figures = judge(dense, module, data, place, rounds, resamples, level, seed)
    rows = [layer._asdict() for layer in layers]
    made_of = {"checkpoint": ckpt_path, **settings, "left_out": choice.left_out}
    write_report(path.with_suffix(".json"), figures, **(made_of | {"layers": rows}))
    write_csv(rows, path.with_suffix(".csv"))
    kept.remove()
    show(figures, f"{ckpt_path}, compressed", level)
    rank_zero_info(f"compressed; next: lightning-transfer test --ckpt_path {path}")
    return path


def _run(
    module: TransferModule,
    choice: Choice,
    compressions: list[Compression],
    calibration: CalibrationImages,
    inputs: Inputs,
    gigabytes: float,
    kept: KeptLayers,
) -> list[CompressedLayer]:
    left_out = ", ".join(f"{name} ({reason})" for name, reason in [*choice.left_out.items()][:5])
    rank_zero_info(f"{len(choice.layers)} layers; {len(choice.left_out)} left alone: {left_out or 'none'}")
    with Progress() as progress:
        task = progress.add_task("layers", total=len(choice.layers))
        return compress_network(
            module.model, choice.layers, compressions, calibration, inputs, gigabytes, kept,
            lambda layer: progress.update(task, advance=1, description=layer.name),
        )  # fmt: skip
