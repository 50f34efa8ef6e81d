"""A split's features on disk: shards that are each written whole, and an index that is written last."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lightning_transfer.backbones import Backbone
from lightning_transfer.contracts import Embedded
from lightning_transfer.data import ImageData
from lightning_transfer.data.sources import ImageSource, Subset
from lightning_transfer.features.extract import embed
from lightning_transfer.features.key import FeatureKey, feature_key
from lightning_transfer.files import whole


def cached_features(
    backbone: Backbone,
    data: ImageData,
    split: str,
    root: str | Path = "runs/features",
    folder: str | Path | None = None,
    shard_size: int = 32768,
) -> Embedded:
    """Features of a split behind the evaluation transform: read if they are on disk, otherwise computed and kept.

    An interrupted computation leaves whole shards, which the next one takes up; there is no index before all are there.

    Args:
        backbone: frozen; its images are of the data's size already.
        data: datamodule; files that it skips have no features.
        split: train, val or test.
        root: folder of all caches, in which this one is named by its key.
        folder: a folder for this cache alone, instead; it may be empty, or hold features of the same key.
        shard_size: images a shard; several shards are joined in memory when read, a single one stays mapped.

    Raises:
        ValueError: for a split that the data lacks, or a folder that holds features of other weights, transform or images.
    """
    if shard_size < 1:
        raise ValueError(f"shard_size={shard_size} must be at least 1")
    splits = data.splits()
    if split not in splits:
        raise ValueError(f"the data has no {split} split; give one, or a {split}_fraction above 0")
    source = splits[split]
    key = feature_key(backbone, data, source)
    place = Path(folder) if folder is not None else Path(root) / f"{split}-{key.short}"
    _claim(place, key)
    if not (place / "index.json").is_file():
        _compute(place, backbone, data, source, shard_size)
    found = read_features(place)
    if data.on_error == "raise" and len(found.target) < len(source):
        raise ValueError(
            f"{len(source) - len(found.target)} images could not be read when {place} was made; data.on_error=skip leaves them out"
        )
    return found._replace(task=data.task)


def read_features(folder: str | Path) -> Embedded:
    """Open features without backbone or data.

    Args:
        folder: made by `cached_features`.

    Returns:
        embeddings mapped from their file, so that only what is looked at is read (several shards are joined in memory)

    Raises:
        FileNotFoundError: if the folder holds no finished features.
    """
    folder = Path(folder)
    if not (folder / "index.json").is_file():
        raise FileNotFoundError(f"{folder} holds no index.json: these are no features, or not yet all of them")
    index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
    shards = [_mapped(folder / name) for name in index["shards"]]
    embedding = shards[0] if len(shards) == 1 else torch.cat(shards)
    return Embedded(embedding, torch.from_numpy(np.load(folder / "target.npy")), index["names"])


def _mapped(path: Path) -> Tensor:
    # copy on write: torch wants memory that could be written to, and the file must never be
    return torch.from_numpy(np.load(path, mmap_mode="c"))


def _claim(folder: Path, key: FeatureKey) -> None:
    """Say whose features a folder holds before there are any, and refuse one that holds those of another key."""
    path = folder / "key.json"
    if path.is_file():
        held = json.loads(path.read_text(encoding="utf-8"))
        other = [name for name, value in key._asdict().items() if held.get(name) != value]
        if other:
            raise ValueError(
                f"the features in {folder} are of other {' and '.join(other)}; give another folder, or remove this one"
            )
        return
    if folder.exists() and (not folder.is_dir() or any(not f.name.startswith(".") for f in folder.iterdir())):
        raise ValueError(f"{folder} exists, but holds no features; give an empty folder, or one that does not exist")
    folder.mkdir(parents=True, exist_ok=True)
    _dump(key._asdict(), path)


def _compute(folder: Path, backbone: Backbone, data: ImageData, source: ImageSource, shard_size: int) -> None:
    shards, rows = [], []
    for start in range(0, len(source), shard_size):
        indices = torch.arange(start, min(start + shard_size, len(source)))
        # its place and length are in the name: with another shard_size no shard is taken for what it is not
        name = f"{start:08d}-{len(indices)}.npy"
        if not (folder / name).is_file():
            _compute_shard(folder, name, backbone, data, Subset(source, indices))
        shards.append(name)
        rows.append(torch.from_numpy(np.load(folder / f"rows-{name}")) + start)
    row = torch.cat(rows)
    _save(source.targets[row].numpy(), folder / "target.npy")
    _dump({"shards": shards, "names": [source.names[i] for i in row.tolist()]}, folder / "index.json")
    data.teardown("predict")  # lists the files that were left out


def _compute_shard(folder: Path, name: str, backbone: Backbone, data: ImageData, source: Subset) -> None:
    """Write which images could be read, then their embeddings: a shard counts once these are there."""
    rows: list[int] = []
    with whole(folder / name) as partial:
        size = (len(source), backbone.num_features)
        # written batch by batch: memory need not hold a shard
        array = np.lib.format.open_memmap(partial, mode="w+", dtype=np.float32, shape=size)
        for embedding, batch in embed(backbone, data, source):
            array[len(rows) : len(rows) + len(embedding)] = embedding.numpy()
            for read in batch.name:
                rows.append(source.names.index(read, rows[-1] + 1 if rows else 0))
        array.flush()
        if len(rows) < len(source):
            _save(np.array(array[: len(rows)]), partial)
        _save(np.array(rows, dtype=np.int64), folder / f"rows-{name}")


def _save(array: "np.ndarray[tuple[int, ...], np.dtype[np.generic]]", path: Path) -> None:
    with whole(path) as partial, partial.open("wb") as file:  # given a path, numpy would add its own ending
        np.save(file, array)


def _dump(value: object, path: Path) -> None:
    with whole(path) as partial:
        partial.write_text(json.dumps(value, indent=1), encoding="utf-8")
