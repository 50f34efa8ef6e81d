import pytest
import torch
from PIL import Image
from torch import nn

from lightning_transfer.data import CsvData, EmojiData, EvalTransform, FakeData, TrainTransform
from lightning_transfer.data.datasets import ImageDataset
from lightning_transfer.data.modalities import Edges
from lightning_transfer.data.paired import Companion
from lightning_transfer.data.sources import ArraySource, Joined, Subset


def source(side=32, count=12, offset=0):
    """Images that can be told apart: image i is filled with i, but for one bright pixel."""
    images = torch.arange(count).view(-1, 1, 1, 1).expand(-1, 3, side, side).clone().to(torch.uint8) + offset
    images[:, :, 10, 20] = 255
    return ArraySource(images, torch.arange(count) % 3, "made")


def paired(transform, side=32, **options):
    first = source()
    first.others = {"other": source(side, offset=100)}
    data = ImageDataset(first, transform, seed=7, **options)
    data.accompany({"other": Companion(first.others["other"], options.get("own", transform))})
    return data


def bright(image):
    return torch.nonzero(image[0] == image.max()).tolist()


@pytest.mark.parametrize(
    "transform",
    [TrainTransform(32, flip=0.5, rotation=40, auto="rand", erase=0.5), TrainTransform(48), EvalTransform(24)],
    ids=["much", "crop", "none"],
)
def test_one_geometry_is_drawn_for_both(transform):
    first = source()
    data = ImageDataset(first, transform, seed=7)
    data.accompany({"same": Companion(first, transform)})
    for number in range(24):
        image, *_, modalities, _ = data[number]
        assert torch.equal(image, modalities["same"])


def test_a_big_shift_moves_both_alike_and_anew_each_epoch():
    class Shift(nn.Module):
        def forward(self, image):
            return image.roll(int(torch.randint(-9, 10, ())), dims=-1)

    data = paired(Shift())
    places = []
    for number in range(0, 12 * 8, 12):  # one image in eight epochs
        image, *_, modalities, _ = data[number]
        assert bright(image) == bright(modalities["other"])
        places.append(bright(image)[0][1])
    assert len(set(places)) > 3


@pytest.mark.parametrize("cache", [False, True])
def test_pairs_stay_together_through_subsets_and_joins(cache):
    first = source()
    first.others = {"other": source(offset=100)}
    joined = Joined([Subset(first, torch.tensor([4, 7])), Subset(first, torch.tensor([1]))])
    data = ImageDataset(joined, nn.Identity(), cache)
    data.accompany({name: Companion(other, data.transform) for name, other in joined.others.items()})
    for _ in range(2):
        for index, number in enumerate((4, 7, 1)):
            image, *_, modalities, _ = data[index]
            assert image[0, 0, 0].item() == pytest.approx(number / 255)
            assert modalities["other"][0, 0, 0].item() == pytest.approx((100 + number) / 255)


def test_unlike_sizes_are_refused_where_one_geometry_is_drawn_for_both():
    with pytest.raises(ValueError, match="modality 'other' has 40x40 pixels where the image has 32x32"):
        paired(TrainTransform(16), side=40)[0]


def test_a_geometry_of_its_own_takes_any_size():
    first = source()
    data = ImageDataset(first, TrainTransform(16), seed=0)
    data.accompany({"other": Companion(source(40), EvalTransform(20))})
    *_, modalities, _ = data[3]
    assert modalities["other"].shape == (3, 20, 20)


def data(**options):
    return FakeData(**{"image_size": 16, "num_workers": 0, "images_per_class": 20, **options})


def met(made, epochs=1, split="train"):
    made.setup("fit")
    loader = made.train_dataloader() if split == "train" else made.val_dataloader()
    found = {}
    for epoch in range(epochs):
        if split == "train":
            loader.batch_sampler.sampler.set_epoch(epoch)
        for batch in loader:
            for name, other in zip(batch.name, batch.modalities["other"], strict=True):
                found.setdefault(name, []).append(other)
    return made, found


class Numbered(FakeData):
    """Images of class k are filled with k times 20."""

    def sources(self):
        made = super().sources()["train"]
        images = (20 * made.targets).view(-1, 1, 1, 1).expand(-1, 3, 8, 8).clone()
        images[:, :, 0, 0] = torch.arange(len(images))[:, None]
        return {"train": ArraySource(images.to(torch.uint8), made.targets, "numbered")}


def numbered(**options):
    return Numbered(
        image_size=8, num_workers=0, images_per_class=20, eval_transform=lambda size: nn.Identity(), **options
    )


def test_other_data_gives_an_image_of_the_same_class_from_the_same_split():
    made, found = met(data(same_class={"other": numbered()}, batch_size=64), epochs=3)
    target = dict(zip(made.train_set.source.names, made.train_set.source.targets.tolist(), strict=True))
    splits = made.same_class["other"].splits()
    allowed = {int(splits["train"].image(i)[0, 0, 0]) for i in range(len(splits["train"]))}
    for name, others in found.items():
        assert len(others) == 3
        for other in others:
            assert round(other[0, 1, 1].item() * 255) == 20 * target[name]
            assert round(other[0, 0, 0].item() * 255) in allowed
    changed = sum(not torch.equal(others[0], others[1]) for others in found.values())
    assert changed > len(found) / 2


def test_pairs_depend_on_seed_and_epoch_alone(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    _, first = met(data(same_class={"other": numbered()}, batch_size=4), epochs=2)
    torch.manual_seed(9)
    _, again = met(data(same_class={"other": numbered()}, batch_size=4), epochs=2)
    assert all(torch.equal(torch.stack(first[name]), torch.stack(again[name])) for name in first)
    monkeypatch.setenv("PL_GLOBAL_SEED", "4")
    _, other = met(data(same_class={"other": numbered()}, batch_size=4), epochs=2)
    assert any(not torch.equal(first[name][0], other[name][0]) for name in first)


def test_validation_meets_the_same_pairs_always_and_a_test_needs_no_other_data():
    made, first = met(data(same_class={"other": numbered()}), split="val")
    torch.manual_seed(5)
    _, again = met(made, split="val")
    assert all(torch.equal(first[name][0], again[name][0]) for name in first)
    alone = data(same_class={"other": CsvData("gone.csv")})
    alone.setup("test")
    assert not next(iter(alone.test_dataloader())).modalities


class Renamed(FakeData):
    names = ("a", "b", "c", "d")

    @property
    def class_names(self):
        return list(self.names)


class Turned(Renamed):
    names = ("class 1", "class 0", "class 2", "class 3")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            FakeData(num_classes=5),
            r"same_class.other has the classes class 0, .*, 5 in all.*same classes in the same order",
        ),
        (Turned(), "same classes in the same order"),
        (FakeData(val_fraction=0), "same_class.other has no val split; give one, or a val_fraction above 0"),
    ],
)
def test_other_data_that_does_not_fit_gets_a_sentence(other, message):
    with pytest.raises(ValueError, match=message):
        data(same_class={"other": other}).setup("fit")


def test_classes_may_be_named_in_another_kind():
    data(same_class={"other": Renamed()}).setup("fit")


def test_a_class_without_images_and_samples_without_a_class_get_a_sentence():
    class Less(FakeData):
        def sources(self):
            made = super().sources()["train"]
            rows = torch.nonzero(made.targets != 2).flatten()
            return {"train": Subset(made, rows), "val": made}

    class Unlabelled(FakeData):
        def sources(self):
            made = super().sources()["train"]
            made.targets = torch.full_like(made.targets, -1)
            return {"train": made, "val": made}

    with pytest.raises(ValueError, match="same_class.other has no image of class 'class 2' in its train split"):
        data(same_class={"other": Less()}).setup("fit")
    with pytest.raises(ValueError, match="pairs samples by their class, but these have none"):
        Unlabelled(image_size=8, test_fraction=0, same_class={"other": FakeData()}).setup("fit")


def test_two_modalities_of_one_name_are_refused():
    with pytest.raises(ValueError, match="`picture`, and so is another modality named"):
        data(modality=Edges(), same_class={"picture": FakeData()}).setup("fit")


def test_columns_of_paths_are_further_modalities(tmp_path):
    rows = ["depth,colour,label"]
    for i in range(10):
        for k, name in enumerate(("depth", "colour")):
            Image.new("RGB", (20, 16), (10 * i, 100 * k, 0)).save(tmp_path / f"{name}{i}.png")
        rows.append(f"depth{i}.png,colour{i}.png,{'ab'[i % 2]}")
    (tmp_path / "pairs.csv").write_text("\n".join(rows))
    made = CsvData(
        str(tmp_path / "pairs.csv"),
        path_column="depth",
        modality_columns=["colour"],
        image_size=8,
        num_workers=0,
        test_fraction=0,
    )
    made.setup("fit")
    for batch in (next(iter(made.train_dataloader())), next(iter(made.val_dataloader()))):
        colour = batch.modalities["colour"]
        assert torch.equal(batch.image[:, 0], colour[:, 0])
        assert not batch.image[:, 1].any()
        assert (colour[:, 1] > 0.3).all()
    (tmp_path / "colour3.png").unlink()
    with pytest.raises(FileNotFoundError, match="lists 1 images that do not exist.*colour3"):
        CsvData(str(tmp_path / "pairs.csv"), path_column="depth", modality_columns=["colour"]).splits()
    with pytest.raises(ValueError, match="no column 'heat'.*set data.modality_columns"):
        CsvData(str(tmp_path / "pairs.csv"), path_column="depth", modality_columns=["heat"]).splits()


def test_the_other_vendors_drawing_is_of_the_same_concept(data_root):
    made = EmojiData(
        vendor="twitter", beside="google", image_size=64, num_workers=0, eval_transform=lambda size: nn.Identity()
    )
    made.setup("fit")
    google = EmojiData(vendor="google").splits()["val"]
    drawn = {concept: google.image(i) for i, concept in enumerate(google.groups)}
    images = made._sets["val"]
    for index in range(0, len(images), 10):
        *_, modalities, _ = images[index]
        concept = images.source.groups[index]
        assert torch.equal((modalities["google"] * 255).round().byte(), drawn[concept])
    with pytest.raises(ValueError, match="beside='apple' must be google or twitter"):
        EmojiData(beside="apple")
