import csv
import re
from pathlib import Path

import pytest
import torch

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.data import Corruption, FakeData, ImageData

FIT = ["fit", "--model=FinetuneModule", "--model.backbone=TimmBackbone", "--model.backbone.name=test_resnet",
       "--model.backbone.pretrained=false", "--data=FakeData", "--data.image_size=32", "--data.num_workers=0",
       "--config=smoke", "--trainer.default_root_dir=run"]  # fmt: skip
TEST = ["test", "--ckpt_path=run/best.ckpt", "--trainer.default_root_dir=tested"]
SMALL = ["--data.test_sets.small", "FakeData", "--data.test_sets.small.pixels", "8"]
OVERLAY = """
data:
  init_args:
    test_sets:
      small:
        class_path: FakeData
        init_args: {pixels: 8}
    corruptions:
    - {name: contrast, severity: 5}
    - {name: gaussian_noise}
"""


def module():
    torch.manual_seed(0)
    made = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, image_size=32)
    torch.nn.init.normal_(made.model.head.weight, std=30)  # so that images differ
    return made


def fake(**options):
    return FakeData(image_size=32, num_workers=0, **options)


def measure(trainer, data, model=None):
    rows = trainer.test(model or module(), data, verbose=False)
    return {key: value for row in rows for key, value in row.items()}


def logged():
    (row,) = csv.DictReader(Path("tested/metrics.csv").read_text().splitlines())
    return {key: float(value) for key, value in row.items()}


def test_each_set_is_measured_as_if_alone(trainer):
    both = fake(test_sets={"small": FakeData(pixels=8), "more": FakeData(images_per_class=40)})
    found = measure(trainer(), both)
    for name, alone in (("test", fake()), ("small", fake(pixels=8)), ("more", fake(images_per_class=40))):
        expected = measure(trainer(), alone)
        assert {f"{name}/{key.partition('/')[2]}": value for key, value in expected.items()} == {
            key: value for key, value in found.items() if key.startswith(f"{name}/")
        }
    assert len({found[f"{name}/loss"] for name in ("test", "small", "more")}) == 3


def test_corrupted_images_are_measured_and_averaged(trainer):
    data = fake(corruptions=[Corruption("gaussian_noise", 5), Corruption("contrast", 4)])
    found = measure(trainer(), data)
    assert len({found[f"{name}/loss"] for name in ("test", "gaussian_noise_5", "contrast_4")}) == 3
    for key in ("accuracy", "loss", "ece"):
        mean = (found[f"gaussian_noise_5/{key}"] + found[f"contrast_4/{key}"]) / 2
        assert found[f"corrupted/{key}"] == pytest.approx(mean)
    assert measure(trainer(), data) == found


def test_a_module_measures_more_than_once_and_other_sets(trainer):
    model, run = module(), trainer(max_steps=1)
    first = measure(run, fake(test_sets={"small": FakeData(pixels=8)}), model)
    run.fit(model, fake())
    after = measure(run, fake(test_sets={"big": FakeData(pixels=64)}), model)
    assert set(first) & set(after) == {key for key in first if key.startswith("test/")}
    assert "big/f1" in after


def test_loaders_in_a_list_are_numbered(trainer):
    loaders = []
    for data in (fake(), fake(pixels=8)):
        data.setup("test")
        loaders.append(data.test_dataloader())
    found = {key for row in trainer().test(module(), loaders, verbose=False) for key in row}
    assert {"test/loss", "test_1/loss", "test/f1", "test_1/f1"} <= found


def test_cached_images_are_kept_once_for_all_corruptions():
    data = fake(cache=True, corruptions=[Corruption("fog"), Corruption("snow")])
    data.setup("test")
    loaders = data.test_dataloader()
    assert list(loaders) == ["test", "fog_3", "snow_3"]
    images = [torch.cat([batch.image for batch in loader]) for loader in loaders.values()]
    assert len({id(loader.dataset.cache) for loader in loaders.values()}) == 1
    assert not torch.equal(images[0], images[1])
    uncached = fake(corruptions=[Corruption("fog")])
    uncached.setup("test")
    assert torch.equal(images[1], torch.cat([batch.image for batch in uncached.test_dataloader()["fog_3"]]))


def test_named_sets_alone_are_enough(trainer):
    found = measure(trainer(), fake(test_fraction=0, test_sets={"small": FakeData(pixels=8)}))
    assert {key.partition("/")[0] for key in found} == {"small"}


@pytest.mark.parametrize("typed", ["flags", "overlay"])
def test_the_command_line_takes_flags_and_overlays(typed, capsys):
    main(FIT)
    Path("shift.yaml").write_text(OVERLAY)
    capsys.readouterr()
    main([*TEST, *(SMALL if typed == "flags" else ["--config=shift.yaml"])])
    figures = logged()
    assert figures["small/loss"] != figures["test/loss"]
    text = capsys.readouterr().out
    assert re.findall(r"^│ (\w+)", text, re.MULTILINE)[:2] == ["test", "small"]
    assert "DataLoader 0" not in text
    if typed == "overlay":
        mean = (figures["contrast_5/loss"] + figures["gaussian_noise_3/loss"]) / 2
        assert figures["corrupted/loss"] == pytest.approx(mean)


def test_a_checkpoint_records_them():
    Path("shift.yaml").write_text(OVERLAY)
    main([*FIT, "--config=shift.yaml"])
    data = ImageData.load_from_checkpoint("run/best.ckpt")
    assert data.test_sets["small"].pixels == 8
    assert list(data.corruptions) == ["contrast_5", "gaussian_noise_3"]
    main(TEST)
    assert {"small/accuracy", "corrupted/accuracy"} <= set(logged())


def test_a_checkpoint_of_python_records_them(trainer):
    run = trainer(max_steps=1)
    run.fit(module(), fake(test_sets={"small": FakeData(pixels=8)}, corruptions=[Corruption("fog", 2)]))
    run.save_checkpoint("python.ckpt")
    data = ImageData.load_from_checkpoint("python.ckpt")
    assert data.test_sets["small"].pixels == 8
    assert data.corruptions["fog_2"].severity == 2


@pytest.mark.parametrize("name", ["train", "val", "test", "predict", "corrupted", "a/b", "", "fog_3"])
def test_refuses_names_that_are_logged_under_already(name):
    with pytest.raises(ValueError, match=f"test_sets: '{name}' cannot name a set"):
        fake(test_sets={name: FakeData()}, corruptions=[Corruption("fog")])


def test_refuses_other_classes_before_anything_runs(trainer, complaint):
    class Reversed(FakeData):
        @property
        def class_names(self):
            return super().class_names[::-1]

    for other, reason in (
        (FakeData(5), r"test_sets\.far has 5 classes and the data has 4; give data"),
        (Reversed(), r"has 4 classes and the data has 4; class 0 is 'class 3' instead of 'class 0'"),
    ):
        run = trainer(max_steps=1)
        for start in (run.fit, run.test):
            with pytest.raises(ValueError, match=reason):
                start(module(), fake(test_sets={"far": other}))
        assert run.global_step == 0
    flags = ["--data.test_sets.far=FakeData", "--data.test_sets.far.num_classes=5"]
    assert "test_sets.far has 5 classes and the data has 4" in complaint(*FIT, *flags)
    assert "test_sets: 'val' cannot name a set" in complaint(*FIT, "--data.test_sets.val=FakeData")
    assert "fog_3 is given twice" in complaint(*FIT, "--data.corruptions=[{name: fog}, {name: fog}]")


def test_says_which_set_has_no_test_split():
    with pytest.raises(ValueError, match=r"test_sets\.far has no test split; give one"):
        fake(test_sets={"far": FakeData(test_fraction=0)}).setup("test")
    with pytest.raises(ValueError, match="corruptions need a test split"):
        fake(test_fraction=0, test_sets={"far": FakeData()}, corruptions=[Corruption("fog")]).setup("test")
