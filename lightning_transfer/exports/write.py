"""An export that is either checked and whole, or not there."""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from torch import Tensor

from lightning_transfer.exports.base import ExportFormat
from lightning_transfer.exports.compare import Comparison, compare
from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.exports.quantised import is_quantised

_ROUNDED = 0.05  # for networks that round: where a value lies between two numbers, the last bit of a sum decides


def write_checked(
    format: ExportFormat,  # noqa: A002  # what everybody calls it
    model: Deployed,
    out: Path,
    images: Sequence[Tensor],
    tolerance: float | None = None,
) -> Comparison:
    """Write an export, let it predict the images as a stranger would, and put it in its place if it agrees with the checkpoint.

    Args:
        format: how to write it.
        model: the checkpoint's model.
        out: file, or folder for a format that is one.
        images: to compare on, each uint8 (3, H, W).
        tolerance: largest difference of a probability that is accepted, as a share of how much the images' probabilities vary; the
            format's own if not given. For a network that rounds, 0.05, and it is the images' mean difference, as for formats that say so.

    Raises:
        ValueError: for a name with another ending, a folder that holds something, or an export that does not agree.
    """
    if tolerance is None:
        tolerance = _ROUNDED if is_quantised(model) else format.tolerance
    on_average = format.on_average or is_quantised(model)
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance={tolerance} must lie in [0, 1); 0.02 is common")
    if format.suffix and out.suffix != format.suffix:
        raise ValueError(f"out={str(out)!r} must end in {format.suffix}")
    if out.is_dir() and (format.suffix or any(out.iterdir())):
        raise ValueError(f"out={str(out)!r} is a folder that holds something; remove it, or name another")
    if out.is_file() and not format.suffix:
        raise ValueError(f"out={str(out)!r} is a file, but {type(format).__name__} writes a folder; name another")
    out.parent.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(prefix=f".{out.name}.", suffix=".partial", dir=out.parent) as folder:
        made = Path(folder) / out.name
        format.write(model, made)
        comparison = compare(model, format.load(made), images)
        comparison.check(tolerance, on_average)
        made.replace(out)
    return comparison
