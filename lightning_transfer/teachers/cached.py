"""A teacher whose answers are kept on disk, so that it sees each training image once and not in every training."""

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from lightning.pytorch.utilities import rank_zero_info
from numpy.typing import NDArray
from torch import Tensor, nn

from lightning_transfer import hashes
from lightning_transfer.contracts import ImageBatch, Prediction
from lightning_transfer.data.datasets import ImageDataset
from lightning_transfer.files import whole
from lightning_transfer.parts import UndescribableError, describe
from lightning_transfer.teachers.base import Teacher
from lightning_transfer.teachers.cache_key import cache_key, differences, validation_key
from lightning_transfer.teachers.module import as_teacher
from lightning_transfer.teachers.packing import Packing, Records
from lightning_transfer.teachers.rows import Rows, empty, intact


class CachedTeacher(Teacher):
    """Keeps what a teacher says of the training images, and lets later trainings read it.

    A random train_transform wants `data.augmentations`: so many answers are kept of each image, and the epochs take them in turn. A
    folder serves one teacher, the same images and one transform; every row carries a checksum of the pixels that the teacher saw, and
    is used for no others. A `CheckpointTeacher` is not even read where nothing is wanting, only its file is hashed. Several processes
    and trainings may fill one folder together. The teacher computes in single precision even where the training does not.

    With `top_k` a training gets, as logits, the logarithms of probabilities: the likeliest classes have their own, as at temperature 1,
    and all others one, such that the sum is 1. At other temperatures the losses soften this distribution, not the teacher's.

    Args:
        teacher: any other; of several an `Ensemble` within, not around.
        folder: where the answers are kept, for this teacher alone; missing or empty at first.
        top_k: how many classes are kept of an image; all logits if not given.
        precision: bits of a stored number, 16 or 32.
        embedding: whether the embedding is kept too, for losses that compare embeddings.
        check: share of the batches read for which the teacher is asked again, and must say the same but for rounding; in [0, 1].

    Raises:
        ValueError: for values out of range; before a training for a folder of another teacher, other images or another transform, for
            too small a disk, a random transform without `data.augmentations`, mixing, and losses that look at named layers; in it for
            images that are others than those stored, and where a check fails.

    Reference:
        Wu et al., "TinyViT: Fast Pretraining Distillation for Small Vision Transformers", ECCV 2022, for the transforms that are drawn
        again, and the likeliest classes.

    Deviation:
        The mean of what is left is kept as a number of its own, where they compute it from the probabilities as they were rounded.
    """

    def __init__(
        self,
        teacher: Teacher | nn.Module,
        folder: str | Path,
        top_k: int | None = None,
        precision: Literal[16, 32] = 16,
        embedding: bool = False,
        check: float = 0.0,
    ) -> None:
        self.teacher = self.init_args["teacher"] = as_teacher(teacher)
        if isinstance(self.teacher, CachedTeacher):
            raise ValueError("a CachedTeacher within another keeps everything twice; take one")
        if not 0 <= check <= 1:
            raise ValueError(f"check={check} is a share of the batches and lies in [0, 1]; 0.01 is cheap")
        self.packing = Packing(top_k, precision, embedding)
        self.folder = Path(folder)
        self.check = check
        self._owed = 1.0 if check else 0.0  # batches to be checked: the first one read, and then that share
        self._rows: Rows | None = None

    def build(self) -> nn.Module:
        self.teacher.load()
        self.class_names = self.teacher.class_names
        return self.teacher.network

    def __call__(self, batch: ImageBatch) -> Prediction:
        self.load()
        with torch.autocast(batch.image.device.type, enabled=False):
            return self.teacher(batch)

    def parameters(self) -> Iterator[nn.Parameter]:
        return self.teacher.parameters()

    def fingerprint(self) -> str:
        return self.teacher.fingerprint()

    def prepare(self, data: Any, layers: Sequence[str], mixed: bool) -> None:
        if mixed:
            raise ValueError("mixing makes images that no cache can hold; leave it out, or CachedTeacher")
        if layers:
            raise ValueError(
                f"CachedTeacher keeps logits and embeddings, but losses look at the teacher's layers {', '.join(layers)}; leave one of "
                "them out"
            )
        images = getattr(data, "train_set", None)
        if not isinstance(images, ImageDataset):
            raise ValueError("CachedTeacher tells images apart by their numbers; it needs a datamodule of the package")
        self._key = cache_key(self.teacher, self.packing, images, data.image_size)
        self._shape = self._key["augmentations"], len(images)
        self._trainer = data.trainer
        self._validation = validation_key(data)
        self._rows = self._open()

    def _open(self) -> Rows | None:
        rows = Rows.open(self.folder)
        if rows is None:
            return None
        other = differences(rows.about.get("key", {}), self._key)
        if other:
            raise ValueError(
                f"the cache in {self.folder} was made with {' and '.join(other)}; give another folder, or remove this one"
            )
        self.class_names = rows.about["class_names"]
        rank_zero_info(f"the teacher's answers are in {self.folder}; it is asked where any are missing")
        return rows

    def example(self, batch: ImageBatch) -> Prediction:
        # one process makes the folder for all that share its disk; the others, too, are past `prepare` only then
        if self._rows is None and self._trainer.local_rank == 0:
            self._create(self(batch))
        self._trainer.strategy.barrier()
        if self._rows is None:
            self._rows = self._open()
        return self._unpack(empty(len(batch.image), self._opened.rows.dtype), batch.image.device)

    @property
    def _opened(self) -> Rows:
        if self._rows is None:
            raise RuntimeError("CachedTeacher.prepare() and example() come first")
        return self._rows

    def _create(self, shown: Prediction) -> None:
        try:
            teacher = describe(self.teacher, "teacher")
        except UndescribableError as error:
            teacher = str(error)
        about = {
            "key": self._key,
            "teacher": teacher,
            "class_names": self.class_names,
            "classes": shown.logits.shape[-1],
            "shares": None if shown.shares is None else shown.shares.tolist(),
        }
        Rows.create(self.folder, about, self._shape, self.packing.fields(shown))

    def teach(self, batch: ImageBatch, epoch: int) -> Prediction:
        """Read the answers, and ask the teacher for those that are missing.

        Raises:
            ValueError: for images that are others than those stored, and where a check fails.
        """
        assert batch.indices is not None
        rows, version, indices = self._opened, epoch % self._shape[0], batch.indices.cpu().numpy()
        records, seen = rows.read(version, indices), _checksums(batch)
        there = intact(records)
        other = there & (records["image"] != seen)
        if other.any():
            name = batch.name[int(other.argmax())] if batch.name else f"number {indices[other.argmax()]}"
            raise ValueError(
                f"the cache in {self.folder} holds the teacher's answer to another version of image {name} than epoch {epoch} has; has "
                "the file or a library changed since, or does train_transform draw rarely, or from another generator than torch's? "
                "Remove the folder, or leave CachedTeacher out"
            )
        if not there.all():
            missing = ~there
            found = empty(int(missing.sum()), records.dtype)
            self.packing.pack(self(_some(batch, missing)), found)
            rows.write(version, indices[missing], found, seen[missing])
            records[missing] = found
        elif self.check:
            self._owed += self.check
            if self._owed >= 1:
                self._owed -= 1
                self._compare(records, batch)
        return self._unpack(records, batch.image.device)

    def _unpack(self, records: Records, device: torch.device) -> Prediction:
        about = self._opened.about
        shares = None if about["shares"] is None else torch.tensor(about["shares"], device=device)
        return self.packing.unpack(records, about["classes"], shares, device)

    def _compare(self, records: Records, batch: ImageBatch) -> None:
        """Ask the teacher again: rounding aside it must say the same."""
        again = empty(len(records), records.dtype)
        self.packing.pack(self(batch), again)
        rounding = 1e-3 + 2 * np.finfo(records["scores"].dtype).eps
        problems = []
        for name in ("scores", "embedding") if self.packing.embedding else ("scores",):
            stored, live = (side[name].astype(np.float32) for side in (records, again))
            error, largest = np.abs(stored - live).max(), np.abs(live).max()
            if error > rounding * largest:
                problems.append(f"its {name} differ by up to {error:.3g}, where the largest is {largest:.3g}")
        kept, now = (self._unpack(side, torch.device("cpu")).logits for side in (records, again))
        chosen = now.gather(-1, kept.argmax(dim=-1, keepdim=True)).squeeze(-1)
        # two classes that are level may change places
        mismatch = (chosen < now.amax(dim=-1) - 2 * rounding * now.abs().max()).float().mean().item()
        if mismatch:
            problems.append(f"its best class differs for {mismatch:.1%} of a batch's images")
        if problems:
            raise ValueError(
                f"the cache in {self.folder} disagrees with the teacher: {' and '.join(problems)}; has the network's code or a library "
                "changed? Remove the folder"
            )

    def count_right(self, batches: Iterable[ImageBatch], num_classes: int) -> Tensor:
        """Count, or read what was counted in an earlier training, of the same validation images."""
        path = self.folder / f"validation-{self._validation}.json"
        if path.is_file():
            return torch.tensor(json.loads(path.read_text(encoding="utf-8")))
        counts = super().count_right(batches, num_classes)
        with whole(path) as partial:
            partial.write_text(json.dumps(counts.tolist()), encoding="utf-8")
        return counts


def _checksums(batch: ImageBatch) -> NDArray[np.int64]:
    """Checksums (B,) of all that a teacher may have looked at."""
    sums = hashes.checksums(batch.image)
    for factor, values in enumerate(batch.modalities.values(), start=2):
        sums = sums + factor * hashes.checksums(values)
    found: NDArray[np.int64] = sums.cpu().numpy()
    return found


def _some(batch: ImageBatch, chosen: NDArray[np.bool_]) -> ImageBatch:
    if chosen.all():
        return batch
    where = torch.from_numpy(chosen.nonzero()[0]).to(batch.image.device)
    return ImageBatch(
        batch.image[where],
        batch.target[where],
        modalities={name: values[where] for name, values in batch.modalities.items()},
    )
