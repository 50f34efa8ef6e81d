from pathlib import Path

import pytest
import torch
from torch.distributions import Beta

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.losses.supervised import CrossEntropy, Focal
from lightning_transfer.mixing import CutMix, Mixup, MixupOrCutMix
from lightning_transfer.parts import describe


def flat(count=4, side=16):
    """Images of one value each, that of their class."""
    value = torch.arange(count) / count
    return ImageBatch(value.view(-1, 1, 1, 1).expand(-1, 3, side, side).clone(), torch.arange(count), list("abcd"))


def test_mixup_is_the_weighted_mean_of_an_image_and_the_one_before():
    torch.manual_seed(3)
    share = Beta(torch.tensor(0.4), torch.tensor(0.4)).sample()
    torch.manual_seed(3)
    batch = flat()
    mixed = Mixup(alpha=0.4)(batch, 4)
    expected = share * batch.image + (1 - share) * batch.image.roll(1, 0)
    torch.testing.assert_close(mixed.image, expected)
    torch.testing.assert_close(mixed.target, share * torch.eye(4) + (1 - share) * torch.eye(4).roll(1, 0))
    assert mixed.name == batch.name


def test_cutmix_targets_are_the_areas():
    for seed in range(5):
        torch.manual_seed(seed)
        batch = flat()
        mixed = CutMix()(batch, 4)
        foreign = (mixed.image[1:, 0] != batch.image[1:, 0]).flatten(1).float().mean(1)  # of the one before it
        torch.testing.assert_close(mixed.target[range(1, 4), range(3)], foreign)
        torch.testing.assert_close(mixed.target.sum(1), torch.ones(4))


@pytest.mark.parametrize(("switch", "cut"), [(0.0, False), (1.0, True)])
def test_the_choice_is_that_of_its_probabilities(switch, cut):
    either = MixupOrCutMix(mixup=0.3, cutmix=0.6, switch=switch)
    never = MixupOrCutMix(probability=0.0)(flat(), 4)
    assert torch.equal(never.image, flat().image)
    assert torch.equal(never.target, torch.eye(4))
    values = set(flat().image.unique().tolist())
    for _ in range(10):
        assert (set(either(flat(), 4).image.unique().tolist()) <= values) == cut


def test_draws_both_ways_half_of_the_time():
    torch.manual_seed(0)
    values = set(flat().image.unique().tolist())
    cut = [set(MixupOrCutMix()(flat(), 4).image.unique().tolist()) <= values for _ in range(200)]
    assert 70 < sum(cut) < 130


@pytest.mark.parametrize("mixing", [Mixup(), CutMix(), MixupOrCutMix()])
def test_one_image_stays_and_several_labels_are_mixed(mixing):
    one = ImageBatch(torch.rand(1, 3, 8, 8), torch.tensor([2]))
    mixed = mixing(one, 3)
    torch.testing.assert_close(mixed.image, one.image)
    torch.testing.assert_close(mixed.target, torch.tensor([[0.0, 0.0, 1.0]]))
    several = torch.tensor([[1, 1, 0], [0, 0, 0]])
    target = mixing(ImageBatch(torch.rand(2, 3, 8, 8), several), 3).target
    torch.testing.assert_close(target[0], target[0, 0].expand(3) * several[0])
    torch.testing.assert_close(target.sum(0), several.sum(0).float())


def test_stays_within_the_range_of_images():
    for _ in range(20):
        image = MixupOrCutMix()(ImageBatch(torch.rand(4, 3, 8, 8).round(), torch.arange(4)), 4).image
        assert 0 <= image.min() <= image.max() <= 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Mixup(0.0), r"alpha=0\.0 must be positive"),
        (lambda: CutMix(-1.0), r"alpha=-1\.0 must be positive"),
        (lambda: MixupOrCutMix(cutmix=0.0), r"cutmix=0\.0 must be positive"),
        (lambda: MixupOrCutMix(switch=1.5), r"switch=1\.5 is a probability"),
        (lambda: MixupOrCutMix(probability=-0.1), r"probability=-0\.1 is a probability"),
    ],
)
def test_complaints(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def module(**options):
    return FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, **options)


def test_a_loss_of_class_numbers_is_refused():
    with pytest.raises(ValueError, match=r"mixing=CutMix .* loss=Focal takes one class an image; use CrossEntropy"):
        module(mixing=CutMix(), loss=Focal())


def test_mixes_in_training_alone(trainer):
    from lightning_transfer.data import FakeData

    seen = {"train": [], "val": [], "test": []}

    class Watched(FinetuneModule):
        def step(self, batch):
            seen["train" if self.training else "test" if self.trainer.testing else "val"].append(batch.target.ndim)
            return super().step(batch)

    watched = Watched(
        TimmBackbone("test_resnet", pretrained=False),
        4,
        mixing=Mixup(),
        loss=CrossEntropy(0.1),
        class_weights="balanced",
    )
    run = trainer(max_epochs=1)
    data = FakeData(image_size=32, num_workers=0, batch_size=8)
    run.fit(watched, data)
    run.test(watched, data, verbose=False)
    assert {stage: set(found) for stage, found in seen.items()} == {"train": {2}, "val": {1}, "test": {1}}
    assert run.callback_metrics["test/loss"].isfinite()


def test_is_named_without_a_path_and_comes_back():
    main(
        [
            "fit", "--model=FinetuneModule", "--model.backbone=TimmBackbone", "--model.backbone.name=test_resnet",
            "--model.backbone.pretrained=false", "--model.mixing=CutMix", "--model.mixing.alpha=0.5", "--data=FakeData",
            "--data.image_size=32", "--data.num_workers=0", "--config=smoke",
        ]
    )  # fmt: skip
    (path,) = Path("runs").rglob("best.ckpt")
    again = FinetuneModule.load_from_checkpoint(path)
    assert describe(again.mixing)["init_args"] == {"alpha": 0.5}
