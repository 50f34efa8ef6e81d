from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_transfer import FewShotModule
from lightning_transfer.backbones import Conv4
from lightning_transfer.data import (
    EmojiData,
    EpisodeData,
    EvalTransform,
    FakeData,
    ImageData,
    StampsData,
    TrainTransform,
)
from lightning_transfer.data.datasets import EMBEDDING
from lightning_transfer.data.sources import ArraySource

MILD = partial(TrainTransform, scale=(0.5, 1.0))


def fake(**options):
    return FakeData(**{"image_size": 8, "num_workers": 0, "num_classes": 10, "images_per_class": 8, **options})


def episodes(inner=None, **options):
    usual = {"ways": 3, "shots": 2, "queries": 3, "episodes": 6, "val_classes": 0.3, "novel_classes": 0.3}
    return EpisodeData(inner or fake(), **usual | options)


def drawn_for_test(data):
    data.setup("test")
    return list(data.test_dataloader())


def same(first, second):
    for one, other in zip(first, second, strict=True):
        for a, b in ((one.support, other.support), (one.query, other.query)):
            assert torch.equal(a.image, b.image)
            assert a.name == b.name
        assert torch.equal(one.classes, other.classes)


class Groups(ImageData):
    """Two classes of four images each, of which two and two are near-copies; and two such classes more."""

    @property
    def class_names(self):
        return list("abcd")

    def sources(self):
        targets = torch.arange(4).repeat_interleave(4)
        images = torch.arange(16, dtype=torch.uint8).view(16, 1, 1, 1).expand(-1, 1, 8, 8).contiguous()
        return {"train": ArraySource(images, targets, "groups", [f"{i // 2}" for i in range(16)])}


def test_a_batch_is_episodes_of_novel_classes_with_no_image_on_both_sides():
    data = episodes(batch_size=2)
    batches = drawn_for_test(data)
    assert [len(batch.classes) for batch in batches] == [2, 2, 2]
    targets = data.data.sources()["train"].targets
    for batch in batches:
        assert batch.support.image.shape == (2, 6, 3, 8, 8)
        assert batch.query.image.shape == (2, 9, 3, 8, 8)
        assert {*batch.classes.flatten().tolist()} <= {*data.divided["test"]}
        names = [batch.support.name[:6], batch.support.name[6:]], [batch.query.name[:9], batch.query.name[9:]]
        for e in range(2):
            assert not {*names[0][e]} & {*names[1][e]}
            assert len({*names[0][e], *names[1][e]}) == 15
            assert Counter(batch.support.target[e].tolist()) == {0: 2, 1: 2, 2: 2}
            for part, own in ((batch.support, names[0][e]), (batch.query, names[1][e])):
                classes = [int(targets[int(name.rpartition("/")[2])]) for name in own]
                assert classes == batch.classes[e][part.target[e]].tolist()


def test_sides_are_disjoint_and_all_images_of_a_class_are_on_one():
    data = episodes()
    sides = [{*data.divided[split]} for split in ("train", "val", "test")]
    assert [len(side) for side in sides] == [4, 3, 3]
    assert set.union(*sides) == {*range(10)}
    assert {split: len(source) for split, source in data.splits().items()} == {"train": 32, "val": 24, "test": 24}
    assert data.class_names == [data.data.class_names[k] for k in data.divided["train"]]
    assert data.num_classes == 4
    assert data.class_counts.tolist() == [8, 8, 8, 8]
    assert episodes(fake(split_seed=1)).divided != data.divided


def test_test_episodes_are_the_same_whatever_the_batch_and_before_more_of_them():
    first = drawn_for_test(episodes(batch_size=1))
    same(first, drawn_for_test(episodes(batch_size=1)))
    same(first, drawn_for_test(episodes(batch_size=1, episodes=9))[:6])
    for batch in drawn_for_test(episodes(batch_size=3)):
        for e in range(3):
            one = first.pop(0)
            assert torch.equal(one.support.image[0], batch.support.image[e])
            assert torch.equal(one.query.target[0], batch.query.target[e])


def test_workers_draw_the_same_episodes():
    same(drawn_for_test(episodes(fake(num_workers=1))), drawn_for_test(episodes()))


def test_processes_share_the_episodes_of_one():
    whole = [batch.support.name for batch in drawn_for_test(episodes(batch_size=1))]
    data = episodes(batch_size=1)
    data.setup("test")
    set_ = data._episodes["test"]
    from torch.utils.data import DistributedSampler

    from lightning_transfer.data.sampling import ExactBatches

    shared = []
    for rank in range(2):
        sampler = DistributedSampler(set_, num_replicas=2, rank=rank, shuffle=False)
        shared.append([set_.__getitems__(numbers).support.name for numbers in ExactBatches(sampler, 1)])
    assert len(shared[0]) == len(shared[1]) == 3
    assert [name for pair in zip(*shared, strict=True) for name in pair] == whole


def test_an_epoch_trains_on_other_episodes_than_the_one_before_and_than_another_seed(monkeypatch):
    def names(seed, epochs):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed))
        data = episodes(train_episodes=4, val_classes=0.3, novel_classes=0.3)
        data.setup("fit")
        loader, found = data.train_dataloader(), []
        for epoch in range(epochs):
            loader.batch_sampler.sampler.set_epoch(epoch)
            found.append([batch.support.name for batch in loader])
        return found

    first = names(0, 2)
    assert first[0] != first[1]
    assert names(0, 1)[0] == first[0]
    assert names(1, 1)[0] != first[0]


def test_embeddings_stand_in_the_place_of_pixels():
    data = episodes(fake(eval_transform=MILD), eval_augmentations=3, batch_size=2)
    data.setup("test")
    images = data.sets["test"]
    pixels = list(data.test_dataloader())
    flat = torch.stack(
        [torch.stack([images[v * len(images) + i][0].flatten() for i in range(len(images))]) for v in range(3)]
    )
    images.embed(flat)
    for seen, embedded in zip(pixels, data.test_dataloader(), strict=True):
        for part, other in ((seen.support, embedded.support), (seen.query, embedded.query)):
            assert other.image.numel() == 0
            assert torch.equal(part.image.flatten(2), other.modalities[EMBEDDING])
            assert torch.equal(part.target, other.target)
            assert part.name == other.name


def test_draws_of_an_image_never_meet_across_the_episode():
    inner = fake(images_per_class=3, eval_transform=MILD)
    with pytest.raises(ValueError, match=r"has 3 images, too few for 4 shots and 5 queries; .*eval_augmentations"):
        episodes(inner, shots=4, queries=5).setup("test")
    for batch in drawn_for_test(
        episodes(fake(images_per_class=3, eval_transform=MILD), shots=4, queries=5, eval_augmentations=5)
    ):
        assert not {*batch.support.name} & {*batch.query.name}
        drawn = [image.flatten() for image in batch.support.image[0]]
        assert len({tuple(image.tolist()) for image in drawn}) == len(drawn)
    with pytest.raises(ValueError, match="1 image, .*too few"):
        episodes(fake(images_per_class=1, eval_transform=MILD), shots=1, queries=1, eval_augmentations=9).setup("test")
    with pytest.raises(ValueError, match=r"eval_augmentations=2 .*draws nothing at random; set data.eval_transform"):
        episodes(fake(eval_transform=partial(EvalTransform, crop=1.0)), eval_augmentations=2).setup("test")


def test_of_near_copies_an_episode_has_one():
    inner = Groups(image_size=8, num_workers=0)
    data = episodes(inner, ways=2, shots=1, queries=1, episodes=40, val_classes=0.0, novel_classes=0.5)
    seen = set()
    for batch in drawn_for_test(data):
        numbers = [int(name.rpartition("/")[2]) for name in (*batch.support.name, *batch.query.name)]
        assert len({number // 2 for number in numbers}) == 4
        seen |= {*numbers}
    assert len(seen) == 8
    with pytest.raises(ValueError, match=r"has 2 images, too few for 1 shots and 2 queries"):
        episodes(inner, ways=2, shots=1, queries=2, val_classes=0.0, novel_classes=0.5).setup("test")


def test_turned_classes_are_classes_of_their_own_and_never_meet_their_original():
    data = episodes(rotations=True, ways=3, episodes=30)
    assert len(data.all_class_names) == 40
    assert data.num_classes == 16
    assert data.class_names[4].endswith("turned by 90")
    source = data.splits()["test"]
    upright = len(source) // 4
    turns = set()
    for batch in drawn_for_test(data):
        originals = (batch.classes % 10)[0].tolist()
        assert len({*originals}) == 3
        turns |= {*(batch.classes // 10).flatten().tolist()}
        assert {*originals} <= {*data.divided["test"]}
    assert turns == {0, 1, 2, 3}
    for i in range(3):
        assert torch.equal(source.image(upright + i), source.image(i).rot90(1, (1, 2)))


def test_ways_and_shots_can_vary():
    data = episodes(ways=(2, 3), shots=(1, 4), episodes=40)
    shapes, shots = set(), set()
    for batch in drawn_for_test(data):
        shapes.add(batch.classes.shape[1])
        shots |= {*Counter(batch.support.target[0].tolist()).values()}
        assert batch.query.target.shape[1] == 3 * batch.classes.shape[1]
    assert shapes == {2, 3}
    assert shots == {1, 2, 3, 4}
    with pytest.raises(ValueError, match=r"cannot be stacked to batch_size=2; set batch_size=1"):
        episodes(ways=(2, 3), batch_size=2)


def test_queries_can_be_spread_unevenly():
    data = episodes(fake(images_per_class=20), queries=5, imbalance=0.5, episodes=30)
    counts = [Counter(batch.query.target[0].tolist()) for batch in drawn_for_test(data)]
    assert all(count.total() == 15 for count in counts)
    assert len({tuple(sorted(count.values())) for count in counts}) > 3
    assert max(max(count.values()) for count in counts) > 9


def test_the_least_even_queries_are_all_of_one_way():
    data = episodes(fake(images_per_class=20), queries=5, imbalance=1e-9, episodes=20)
    ways = [batch.query.target.unique() for batch in drawn_for_test(data)]
    assert {len(found) for found in ways} == {1}
    assert {int(found) for found in ways} == {0, 1, 2}


def test_a_resumed_training_meets_the_episodes_that_it_would_have():
    whole, resumed = episodes(train_episodes=6, batch_size=2), episodes(train_episodes=6, batch_size=2)
    for data in (whole, resumed):
        data.setup("fit")
    loader = whole.train_dataloader()
    epochs = []
    for epoch in range(3):
        loader.batch_sampler.sampler.set_epoch(epoch)
        epochs.append(list(loader))
    resumed.load_state_dict({"next_epoch": 2})
    same(list(resumed.train_dataloader()), epochs[2])
    with pytest.raises(AssertionError):
        same(epochs[1], epochs[2])


def test_a_checkpoint_brings_the_data_with_the_data_in_it(trainer):
    made = episodes(
        fake(num_classes=12, image_size=16), ways=(2, 3), val_classes=["class 3", "class 5", "class 7"], rotations=True
    )
    module = FewShotModule(Conv4(), num_classes=made.num_classes, class_names=made.class_names, image_size=16)
    run = trainer(max_steps=1, num_sanity_val_steps=0, limit_val_batches=1)
    run.fit(module, made)
    run.save_checkpoint("few.ckpt")
    loaded = EpisodeData.load_from_checkpoint("few.ckpt")
    assert loaded.class_names == made.class_names
    assert loaded.divided["val"] == [3, 5, 7]
    same(drawn_for_test(loaded), drawn_for_test(made))
    assert len(drawn_for_test(EpisodeData.load_from_checkpoint("few.ckpt", episodes=2))) == 2
    with pytest.raises(ValueError, match="was not trained on a datamodule of images"):
        ImageData.load_from_checkpoint("few.ckpt")


def test_plain_images_of_base_classes():
    data = episodes(fake(batch_size=7), train_on="images")
    data.setup("fit")
    batch = next(iter(data.train_dataloader()))
    assert batch.image.shape == (7, 3, 8, 8)
    assert batch.target.max() < data.num_classes == 4
    base = data.base_set
    seen = [name for batch in data.numbered(base, range(len(base))) for name in batch.name]
    assert seen == list(data.splits()["train"].names)
    torch.testing.assert_close(base[0][0], EvalTransform(8)(base.source.image(0)) / 255)
    assert episodes(val_classes=0.0, novel_classes=1.0).base_set is None
    assert next(iter(data.val_dataloader())).classes.shape == (1, 3)


def test_new_classes_are_told_by_a_folder_of_examples(tmp_path):
    for name, count in (("blicket", 1), ("dax", 3)):
        (tmp_path / "examples" / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", (12, 12), (40 * i, 9, 9)).save(tmp_path / "examples" / name / f"{i}.png")
    (tmp_path / "asked").mkdir()
    for i in range(5):
        Image.new("RGB", (12, 12), (i, 200, 9)).save(tmp_path / "asked" / f"{i}.png")
    paths = {"support_path": str(tmp_path / "examples"), "predict_path": str(tmp_path / "asked")}
    data = episodes(fake(batch_size=3), **paths)
    assert data.new_class_names == ["blicket", "dax"]
    data.setup("predict")
    batches = list(data.predict_dataloader())
    assert [batch.query.image.shape[1] for batch in batches] == [3, 2]
    for batch in batches:
        assert batch.support.target.tolist() == [[0, 1, 1, 1]]
        assert batch.classes.tolist() == [[0, 1]]
    assert [Path(name).name for batch in batches for name in batch.query.name] == [f"{i}.png" for i in range(5)]
    with pytest.raises(ValueError, match="support_path and predict_path belong together"):
        episodes(support_path="x")
    (tmp_path / "examples" / "wug").mkdir()
    with pytest.raises(ValueError, match="class 'wug' has no images; give one example at least"):
        list(episodes(fake(), **paths).predict_dataloader())
    with pytest.raises(FileNotFoundError, match="support_path='nowhere' is no folder"):
        list(episodes(fake(), support_path="nowhere", predict_path="x").predict_dataloader())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ways": 1}, "ways=1 must be at least 2"),
        ({"shots": 0}, "shots=0 must be at least 1"),
        ({"queries": 0}, "queries=0 must be at least 1"),
        ({"shots": (3, 1)}, "goes from the least to the greatest"),
        ({"episodes": 0}, "episodes=0 must be at least 1"),
        ({"train_episodes": -1}, "train_episodes=-1 must be at least 1"),
        ({"batch_size": 0}, "batch_size=0 must be at least 1"),
        ({"imbalance": 0.0}, "imbalance=0.0 must be above 0"),
        ({"imbalance": float("nan")}, "imbalance=nan must be above 0"),
        ({"train_on": "pictures"}, "train_on='pictures' must be episodes or images"),
    ],
)
def test_refuses_values_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        episodes(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"ways": 4}, "episodes of 4 ways need as many novel classes, but there are 3; lower ways, or divide"),
        ({"shots": 7}, "class 'class .' has 8 images, too few for 7 shots and 3 queries; lower shots"),
        ({"novel_classes": 0.0}, "there are no novel classes for test"),
        ({"query_from": "twitter"}, "query_from='twitter' is no modality of the data, which has none"),
        (
            {"val_classes": ["class 1"], "novel_classes": ["class 1", "class 2"]},
            "val_classes and novel_classes both hold 'class 1'; a class is on one side",
        ),
        ({"novel_classes": ["class 99"]}, "novel_classes holds 'class 99', which is no class of the data"),
        (
            {"val_classes": 0.6, "novel_classes": 0.6},
            "val_classes=0.6 of 10 classes are 6, but only 4 are not on another side",
        ),
        ({"val_classes": 1.5}, "val_classes=1.5 is a share"),
    ],
)
def test_refuses_what_the_data_does_not_have(options, message):
    with pytest.raises(ValueError, match=message):
        episodes(**options).setup("test")


@pytest.mark.parametrize(
    ("inner", "message"),
    [
        ({"labels_per_class": 2}, "data.labels_per_class=2 does nothing for episodes"),
        ({"views": 2}, "data.views does nothing for episodes"),
        ({"on_error": "skip"}, "data.on_error=skip would leave gaps in episodes"),
    ],
)
def test_refuses_arguments_that_episodes_would_not_heed(inner, message):
    with pytest.raises(ValueError, match=message):
        episodes(fake(**inner))


def test_concepts_are_shown_by_one_vendor_and_asked_by_the_other(data_root):
    inner = EmojiData(label="concept", beside="twitter", image_size=16, num_workers=0, cache=True)
    data = EpisodeData(inner, ways=5, shots=1, queries=1, episodes=8, query_from="twitter", batch_size=4)
    assert len(inner.class_names) == len({*inner.class_names}) > 1800
    for batch in drawn_for_test(data):
        assert all(name.startswith("emoji/google/") for name in batch.support.name)
        assert all(name.startswith("emoji/twitter/") for name in batch.query.name)
        assert torch.equal(batch.support.indices + len(data.sets["test"]) // 2, batch.query.indices)
    with pytest.raises(ValueError, match="data.test_vendor='twitter' has no concepts of its own"):
        EmojiData(label="concept", test_vendor="twitter")


def test_stamps_of_one_caption_do_not_meet(data_root):
    data = EpisodeData(
        StampsData(image_size=8, num_workers=0), ways=5, shots=1, queries=5, episodes=20, novel_classes=0.6
    )
    captions = data.splits()["test"].captions
    for batch in drawn_for_test(data):
        shown, asked = ({captions[i] for i in part.indices.flatten().tolist()} for part in (batch.support, batch.query))
        assert not shown & asked
