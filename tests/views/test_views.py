from pathlib import Path

import pytest
import torch
from torch import nn

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.data import FakeData
from lightning_transfer.views import Flip, Scales, Shifts, all_views, mean_logits


@pytest.fixture
def image():
    return torch.rand(2, 3, 6, 8)


def test_flip(image):
    plain, mirrored = Flip()(image)
    assert torch.equal(plain, image)
    assert torch.equal(mirrored[..., 0], image[..., 7])


def test_shifts_repeat_the_edge(image):
    centre, left, right, up, down = Shifts(2)(image)
    assert torch.equal(centre, image)
    assert torch.equal(left[..., :6], image[..., 2:])
    assert torch.equal(left[..., 6:], image[..., 7:].expand(-1, -1, -1, 2))
    assert torch.equal(right[..., 2:], image[..., :6])
    assert torch.equal(up[..., :4, :], image[..., 2:, :])
    assert torch.equal(down[..., :2, :], image[..., :1, :].expand(-1, -1, 2, -1))


def test_scales_keep_the_size_and_the_middle():
    image = torch.zeros(1, 3, 16, 16)
    image[..., 4:12, 4:12] = 1
    same, near, far = Scales([1.0, 2.0, 0.5])(image)
    assert torch.equal(same, image)
    assert near.shape == far.shape == image.shape
    assert near[..., 1:-1, 1:-1].min() > 0.7
    assert far.mean() == pytest.approx(image.mean().item() / 4, rel=0.05)
    white = torch.ones(1, 3, 16, 16)
    torch.testing.assert_close(next(Scales([0.3])(white)), white)  # not framed


def test_sets_are_combined(image):
    views = list(all_views(image, [Flip(), Shifts(1)]))
    assert len(views) == 10
    assert torch.equal(views[6], list(Shifts(1)(image.flip(-1)))[1])
    assert len({view.numpy().tobytes() for view in views}) == 10
    (only,) = all_views(image, [])
    assert only is image


def test_the_mean_is_one_of_probabilities():
    logits = list(5 * torch.randn(3, 4, 6))
    expected = torch.stack([one.softmax(-1) for one in logits]).mean(0)
    torch.testing.assert_close(mean_logits(logits, "classification").softmax(-1), expected)
    torch.testing.assert_close(mean_logits(logits, "classification").exp(), expected)
    expected = torch.stack([one.sigmoid() for one in logits]).mean(0)
    torch.testing.assert_close(mean_logits(logits, "multi_label").sigmoid(), expected)


def test_the_mean_is_finite_where_probabilities_underflow():
    for task in ("classification", "multi_label"):
        assert mean_logits([torch.tensor([[500.0, -500.0]])] * 2, task).isfinite().all()


def test_of_numbers_the_mean_is_theirs():
    assert mean_logits([torch.tensor([[1.0, 10.0]]), torch.tensor([[2.0, 30.0]])], "regression").tolist() == [[1.5, 20]]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Shifts(0), "pixels=0 of Shifts"),
        (lambda: Scales([]), r"factors=\[\] of Scales"),
        (lambda: Scales([1.0, 0.0]), r"factors=\[1\.0, 0\.0\] of Scales"),
    ],
)
def test_complaints(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Means(nn.Module):
    """Looks at each half's mean, or at all of the image alike."""

    num_features = 2

    def __init__(self, invariant):
        super().__init__()
        self.invariant = invariant

    def forward(self, image):
        half = image.shape[-1] // 2
        found = torch.stack([image[..., :half].mean((1, 2, 3)), image[..., half:].mean((1, 2, 3))], 1)
        return found.mean(1, keepdim=True).expand(-1, 2) if self.invariant else found


def made(invariant=False, **options):
    module = FinetuneModule(Means(invariant), 4, **options).eval()
    nn.init.normal_(module.model.head.weight, std=20, generator=torch.Generator().manual_seed(0))
    return module


def figures(trainer, module):
    run, data = trainer(), FakeData(image_size=32, num_workers=0)
    (test,) = run.test(module, data, verbose=False)
    (val,) = run.validate(module, data, verbose=False)
    return test, val, torch.cat([probability for probability, _ in run.predict(module, data)])


@pytest.mark.parametrize(("invariant", "views"), [(False, [Scales([1.0])]), (True, [Flip()]), (True, [Flip(), Flip()])])
def test_views_that_are_alike_change_nothing(trainer, invariant, views):
    test, _, predicted = figures(trainer, made(invariant, test_views=views))
    expected, _, probability = figures(trainer, made(invariant))
    assert test == pytest.approx(expected, rel=1e-5)
    torch.testing.assert_close(predicted, probability)


def test_test_and_predict_look_twice_and_validation_once(trainer):
    plain, twice = made(), made(test_views=[Flip()])
    test, val, predicted = figures(trainer, twice)
    plain_test, plain_val, _ = figures(trainer, plain)
    assert val == plain_val
    assert test["test/loss"] != pytest.approx(plain_test["test/loss"], rel=1e-3)
    data = FakeData(image_size=32, num_workers=0)
    data.setup("test")
    images = torch.cat([batch.image for batch in data.test_dataloader()])
    expected = (plain(images).logits.softmax(-1) + plain(images.flip(-1)).logits.softmax(-1)) / 2
    torch.testing.assert_close(predicted, expected)
    torch.testing.assert_close(twice(images).logits, plain(images).logits)  # a call is the model's, as an export is


def test_are_given_to_a_trained_checkpoint_by_a_flag(trainer, capsys):
    module, run = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, image_size=32), trainer(max_epochs=1)
    run.fit(module, FakeData(image_size=32, num_workers=0))
    run.save_checkpoint("x.ckpt")
    main(["test", "--ckpt_path=x.ckpt", "--model.test_views=[Flip, Shifts]", "--trainer.enable_progress_bar=false"])
    assert "test/accuracy" in capsys.readouterr().out
    (config,) = Path().rglob("config.yaml")
    assert "class_path: lightning_transfer.views.Shifts" in config.read_text()
