from functools import partial

import pytest
import torch

from lightning_transfer.data import (
    ContrastiveTransform,
    CsvData,
    EmojiData,
    EvalTransform,
    FakeData,
    TrainTransform,
    WholeTransform,
)
from lightning_transfer.data.modalities import Edges


def train_set(kind=FakeData, **options):
    data = kind(image_size=24, num_workers=0, **{"train_transform": TrainTransform, **options})
    data.setup("fit")
    return data.train_set


def item(images, number):
    image, _, _, index, others, _ = images[number]
    return image, index, others


def test_each_view_draws_for_itself_by_seed_epoch_sample_and_view():
    images, again = train_set(views=3), train_set(views=3, cache=True)
    first, _, others = item(images, 5)
    assert list(others) == ["view_2", "view_3"]
    seen = [first, *others.values()]
    assert all(not torch.equal(one, other) for i, one in enumerate(seen) for other in seen[:i])
    for number in (5, 5 + len(images)):  # another order of asking, and a cache, change nothing
        image, _, repeated = item(again, number)
        same = number == 5
        assert torch.equal(image, first) == same
        assert all(torch.equal(repeated[name], view) == same for name, view in others.items())


def test_the_first_view_is_what_it_is_without_others():
    assert torch.equal(item(train_set(views=2), 3)[0], item(train_set(), 3)[0])


def test_views_may_be_made_in_other_ways_and_sizes():
    images = train_set(views=[WholeTransform, partial(ContrastiveTransform, pixels=10)])
    image, index, others = item(images, 4)
    assert (image.shape, others["view_3"].shape) == ((3, 24, 24), (3, 10, 10))
    whole = WholeTransform(24)(images.source.image(index)).float() / 255
    torch.testing.assert_close(others["view_2"], whole)


def test_pictures_are_kept_once_however_many_views_there_are():
    images = train_set(views=3, cache=True)
    item(images, 2)
    assert list(images.cache) == [(None, 2)]


def test_views_are_of_the_modality_too():
    images = train_set(views=2, modality=Edges(), train_transform=WholeTransform)
    image, _, others = item(images, 0)
    assert torch.equal(image, others["view_2"])  # nothing is drawn here
    assert torch.equal(image, Edges()(others["picture"]))


def test_a_given_number_of_versions_holds_for_views(monkeypatch):
    runs = []
    for seed in ("1", "2"):
        monkeypatch.setenv("PL_GLOBAL_SEED", seed)
        images = train_set(views=2, augmentations=2)
        runs.append([item(images, 3 + epoch * len(images))[2]["view_2"] for epoch in range(4)])
    for (a, b, c, d), _ in [runs]:
        assert torch.equal(a, c)
        assert torch.equal(b, d)
        assert not torch.equal(a, b)
    assert all(torch.equal(one, other) for one, other in zip(*runs, strict=True))


def test_only_training_has_views():
    data = FakeData(image_size=24, num_workers=0, views=2)
    data.setup("fit")
    data.setup("test")
    assert "view_2" in next(iter(data.train_dataloader())).modalities
    assert not next(iter(data.val_dataloader())).modalities
    assert not next(iter(data.test_dataloader())).modalities


def test_two_vendors_drawings_of_a_concept_are_its_views(data_root):
    whole = partial(EvalTransform, crop=1.0)
    options = {"train_transform": whole, "beside": "twitter", "view_modality": "twitter"}
    images = train_set(partial(EmojiData, root=str(data_root / "emoji")), views=3, **options)
    image, index, others = item(images, 7)
    assert list(others) == ["view_2", "view_3"]
    assert torch.equal(others["view_3"], image)
    twitter = images.source.others["twitter"]
    torch.testing.assert_close(others["view_2"], whole(24)(twitter.image(index)).float() / 255)
    assert not torch.equal(others["view_2"], image)
    assert twitter.names[index].removeprefix("emoji/twitter") == images.source.names[index].removeprefix("emoji/google")


def test_held_out_concepts_are_no_vendors_view(data_root):
    data = EmojiData(str(data_root / "emoji"), beside="twitter", view_modality="twitter", views=2, num_workers=0)
    splits = data.splits()
    seen = {name.rpartition("/")[2] for name in splits["train"].names}
    assert seen == {name.rpartition("/")[2] for name in splits["train"].others["twitter"].names}
    assert not seen & {name.rpartition("/")[2] for name in splits["test"].names}


def test_files_in_two_columns_are_views_of_one_another(folder, tmp_path):
    folder(6)
    rows = [f"x/ant/{i}.png,x/bee/{i}.png,{'ab'[i % 2]}" for i in range(6)]
    (tmp_path / "list.csv").write_text("\n".join(["path,other,label", *rows]))
    made = partial(CsvData, "list.csv", modality_columns={"other": "other"}, val_fraction=0, test_fraction=0)
    images = train_set(made, views=2, view_modality="other")
    assert list(item(images, 0)[2]) == ["view_2"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"views": 0}, "views=0 must be at least 1; 2 is common"),
        ({"view_modality": "twitter"}, "view_modality='twitter' is seen in a second view; set views=2"),
        ({"view_modality": "sound", "views": 2}, "view_modality='sound' is no modality of the data, which has none"),
    ],
)
def test_refuses(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        train_set(**options)
