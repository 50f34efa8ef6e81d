import csv

import pytest
from PIL import Image

from lightning_transfer.data import EmojiData, StampsData, TorchvisionData
from lightning_transfer.data.index import data_root as where


@pytest.fixture
def emoji(tmp_path):
    """20 concepts in two categories; each drawing is filled with a colour that says vendor and concept."""
    root = tmp_path / "emoji"
    root.mkdir()
    with (root / "index.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["codepoint", "name", "keywords", "category", "subcategory", "left", "top", "size"])
        writer.writerows([f"U{i}", f"n{i}", "", "AB"[i % 2], "s", 1, 10 * i + 1, 8] for i in range(20))
    for vendor, red in (("google", 0), ("twitter", 200)):
        sheet = Image.new("RGB", (10, 200), "white")
        for i in range(20):
            sheet.paste((red, 10 * i, 0), (1, 10 * i + 1, 9, 10 * i + 9))
        sheet.save(root / f"{vendor}.png")
    return str(root)


def test_emoji_are_cut_out_of_their_sheet(emoji):
    train = EmojiData(emoji).splits()["train"]
    for k in range(len(train)):
        concept = int(train.groups[k][1:])
        assert train.image(k).flatten(1).unique(dim=1).flatten().tolist() == [0, 10 * concept, 0]
        assert train.targets[k] == concept % 2


@pytest.mark.parametrize(("vendor", "test_vendor"), [("google", "twitter"), ("both", None), ("both", "google")])
def test_a_concept_is_on_one_side_whoever_drew_it(emoji, vendor, test_vendor):
    splits = EmojiData(emoji, vendor=vendor, test_vendor=test_vendor).splits()
    seen = [set(source.groups) for source in splits.values()]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 20
    drawn = {name.split("/")[1] for name in splits["test"].names}
    assert drawn == ({"google", "twitter"} if test_vendor is None else {test_vendor})


def test_index_complaints(emoji, tmp_path):
    with pytest.raises(ValueError, match=r"data\.label='colour' must be category or subcategory"):
        EmojiData(emoji, label="colour").splits()
    with pytest.raises(ValueError, match=r"data\.vendor='apple' must be one of google, twitter, both"):
        EmojiData(emoji, vendor="apple")
    with pytest.raises(ValueError, match=r"no category has data\.min_per_class=11 images; the largest has 10"):
        EmojiData(emoji, min_per_class=11).splits()
    with pytest.raises(FileNotFoundError, match=r"`python scripts/data/stamps\.py` makes it"):
        StampsData(str(tmp_path / "stamps")).splits()


def test_sets_lie_below_the_variable_or_data(monkeypatch):
    monkeypatch.delenv("LIGHTNING_TRANSFER_DATA", raising=False)
    assert str(where(None, "stamps")) == "data/stamps"
    monkeypatch.setenv("LIGHTNING_TRANSFER_DATA", "/sets")
    assert str(where(None, "stamps")) == "/sets/stamps"
    assert str(where("mine", "stamps")) == "mine"


def test_predicting_needs_no_torchvision_set(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    data = TorchvisionData("torchvision.datasets.MNIST", str(tmp_path), predict_path=str(tmp_path), num_workers=0)
    data.prepare_data()
    data.setup("predict")
    assert len(list(data.predict_dataloader())) == 1


def test_stamps_of_one_caption_share_a_side(data_root):
    splits = StampsData().splits()
    captions = [set(source.groups) for source in splits.values()]
    assert sum(map(len, captions)) == len(set.union(*captions))
    share = len(splits["test"]) / sum(map(len, splits.values()))
    assert share == pytest.approx(0.2, abs=0.02)
