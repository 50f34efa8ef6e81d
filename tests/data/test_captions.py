from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_transfer.captions import caption_groups, check_captions
from lightning_transfer.data import (
    CsvData,
    DigitsData,
    EmojiData,
    EvalTransform,
    FakeData,
    SpokenStampsData,
    StampsData,
)
from lightning_transfer.data.datasets import EMBEDDING, ImageDataset, collate
from lightning_transfer.data.sources import ArraySource, Joined, Subset


def source():
    made = ArraySource(torch.zeros(3, 3, 8, 8, dtype=torch.uint8), torch.arange(3), "made")
    made.captions = ["one", "two", "three"]
    return made


def test_parts_and_sums_of_sources_keep_them():
    assert Subset(source(), torch.tensor([2, 0])).captions == ["three", "one"]
    assert Joined([source(), source()]).captions == ["one", "two", "three"] * 2
    bare = ArraySource(torch.zeros(3, 3, 8, 8), torch.arange(3), "bare")
    assert Subset(bare, torch.tensor([1])).captions is Joined([bare]).captions is None


def test_a_batch_has_them_or_none():
    data = ImageDataset(source(), EvalTransform(8))
    batch = collate([data[4], None, data[2]])
    assert batch.text == ["two", "three"]
    check_captions(batch)
    with pytest.raises(ValueError, match=r"the data has no captions.*data.caption_column"):
        check_captions(batch._replace(text=()))


def test_embeddings_stand_in_the_place_of_images():
    data = ImageDataset(source(), EvalTransform(8))
    vectors = torch.arange(12.0).view(2, 3, 2)
    vectors[:, 1] = torch.nan
    data.embed(vectors)
    batch = collate([data[i] for i in range(3)])
    assert (batch.image.shape, batch.indices.tolist(), batch.text) == ((2, 0), [0, 2], ["one", "three"])
    assert batch.modalities[EMBEDDING].tolist() == [[0, 1], [4, 5]]
    assert [data[number][4][EMBEDDING].tolist() for number in (3, 6, 9)] == [
        [6, 7],
        [0, 1],
        [6, 7],
    ]  # two versions in turn
    data.embed(None)
    assert data[0][0].shape == (3, 8, 8)


def test_csv_reads_its_column_and_keeps_one_caption_on_one_side():
    rows = ["path,label,said"]
    for i in range(12):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]},caption {i // 4} ")
    Path("x.csv").write_text("\n".join(rows))
    data = CsvData("x.csv", caption_column="said", image_size=8, num_workers=0, val_fraction=0.3, test_fraction=0.3)
    sides = [set(split.captions) for split in data.splits().values()]
    assert set.union(*sides) == {"caption 0", "caption 1", "caption 2"}
    assert sum(map(len, sides)) == 3
    with pytest.raises(ValueError, match=r"has no column 'other'.*set data.caption_column"):
        CsvData("x.csv", caption_column="other").splits()
    Path("x.csv").write_text("\n".join([*rows, "0.png,a, "]))
    with pytest.raises(ValueError, match="0.png has no caption in column 'said'; write one"):
        CsvData("x.csv", caption_column="said").splits()


def test_which_data_know_captions(data_root):
    for data in (StampsData(), EmojiData(vendor="both"), SpokenStampsData()):
        splits = data.splits()
        captions = {name: {*caption_groups(split.captions).tolist()} for name, split in splits.items()}
        if not isinstance(data, EmojiData):  # two concepts have one name there
            assert not captions["train"] & captions["test"]
        assert all(len(split.captions) == len(split) for split in splits.values())
    assert FakeData().splits()["val"].captions[0].startswith("a picture of class ")
    assert DigitsData().splits()["train"].captions is None
