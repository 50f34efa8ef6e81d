"""What exports to 8-bit integers share: training images to find ranges on, and a twin in floating-point numbers to be timed beside."""

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any, ClassVar
from weakref import finalize

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor

from lightning_transfer.compression.timing import Timing, time_beside
from lightning_transfer.exports.base import ExportFormat, Runner
from lightning_transfer.exports.deployed import Deployed
from lightning_transfer.exports.quantised import in_floats, is_quantised
from lightning_transfer.quantisation.layer import quantised_layers

_CPU_FLAGS = Path("/proc/cpuinfo")
_EAGER = "torch float32"


class IntegerExport(ExportFormat):
    """Static 8-bit quantisation of weights and activations for a runtime.

    Ranges of the activations are those that training images reach, or those that the network was trained with (`FakeQuantise`), which
    is then written as it is. On processors without VNNI sums of 8-bit products overflow 16 bits, so that weights are kept to 7 bits there.

    Args:
        images: of the training split, by which ranges are found, at least 1.
        reduce_range: whether weights have 7 bits; where the processor lacks VNNI if not given.
        dynamic_batch: whether the file takes batches of any size, or one image at a time.

    Attributes:
        runtime: what runs it.
        plain: writes the same network in floating-point numbers.

    Raises:
        ModuleNotFoundError: without the runtime.
        ValueError: for values out of range, without images, or for a model that ONNX cannot hold.
    """

    tolerance = 0.2
    on_average = True
    runtime: ClassVar[str]
    plain: Any

    def __init__(self, images: int = 128, reduce_range: bool | None = None, dynamic_batch: bool = True) -> None:
        if images < 1:
            raise ValueError(f"images={images} of {type(self).__name__} must be at least 1; 128 is common")
        self.training_images = images
        self.reduce_range = lacks_vnni() if reduce_range is None else reduce_range
        self.dynamic_batch = dynamic_batch
        self._seen: Sequence[Tensor] = ()
        self._folder = Path(mkdtemp())
        finalize(self, rmtree, self._folder, ignore_errors=True)

    @property
    def twin(self) -> Path:
        """The same network in floating-point numbers, as it was last written."""
        return self._folder / f"float{self.suffix}"

    def see(self, images: Sequence[Tensor]) -> None:
        self._seen = images

    def write(self, model: Deployed, path: Path) -> None:
        trained = is_quantised(model)
        if not trained and not self._seen:
            raise ValueError(
                f"{type(self).__name__} has no calibration images, by which it would find ranges; give data with a train split"
            )
        rmtree(self._folder)
        self._folder.mkdir()
        self.plain.write(in_floats(model) if trained else model, self.twin)
        if trained:
            if self.reduce_range and (
                wide := [name for name, layer in quantised_layers(model.model).items() if layer.bits > 7]
            ):
                rank_zero_warn(
                    f"weights of 8 bits, with which {wide[0]} was trained, have products that overflow on processors without VNNI; "
                    "FakeQuantise(weight_bits=7) trains for these, and reduce_range=false says that others are meant"
                )
            self.plain.write(model, path)
        else:
            self.calibrate(model, self.twin, path, self._seen)

    @abstractmethod
    def calibrate(self, model: Deployed, plain: Path, path: Path, images: Sequence[Tensor]) -> None:
        """Write what is there in floating-point numbers with integers.

        Args:
            model: what it is.
            plain: where it is.
            path: where to.
            images: by which ranges are found, each uint8 (3, H, W).
        """

    def load(self, path: Path) -> Runner:
        run: Runner = self.plain.load(path)
        return run

    def speed(self, model: Deployed, path: Path, image: Tensor, rounds: int = 15) -> dict[str, Timing]:
        """Time eager torch, the runtime with floating-point numbers, and the integers, in turn and with as many threads.

        Args:
            model: what was written.
            path: of the file.
            image: uint8 (B, 3, H, W).
            rounds: of each.
        """
        eager = in_floats(model) if is_quantised(model) else model
        threads = torch.get_num_threads()

        def run() -> Tensor:
            with torch.inference_mode():
                found: Tensor = eager(image)
            return found

        ways: dict[str, Callable[[], Any]] = {_EAGER: run}
        for name, written in ((f"{self.runtime} float32", self.twin), (f"{self.runtime} int8", path)):
            ways[name] = partial(self.plain.load(written, threads), image)
        return time_beside(ways, rounds)


def lacks_vnni() -> bool:
    """Whether the processor is known to have no instruction for sums of 8-bit products."""
    flags = _CPU_FLAGS.read_text(encoding="utf-8") if _CPU_FLAGS.is_file() else ""
    return "flags" in flags and "vnni" not in flags
