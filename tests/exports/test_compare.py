import pytest
import torch

from lightning_transfer.exports import compare


def test_finds_the_largest_difference_and_the_classes_that_agree(deployed, images):
    model = deployed()
    expected = torch.stack([model.reference(image) for image in images])

    def run(image):
        probability = model(image)
        return probability.roll(1, dims=1) if image.shape[-1] == 201 else probability

    found = compare(model, run, images)
    assert found.images == 6
    assert found.agreeing == 5
    assert found.difference == pytest.approx((expected[4].roll(1) - expected[4]).abs().max().item(), rel=1e-4)
    assert found.spread == pytest.approx((expected.max(0).values - expected.min(0).values).max().item())
    with pytest.raises(ValueError, match=r"on 6 images .* the class is the same for 5, more than tolerance=0\.02"):
        found.check(0.02)
    assert found.mean == pytest.approx(found.difference / 6, rel=1e-3)
    found.check(0.99 * found.mean / found.spread + 0.01, on_average=True)
    with pytest.raises(ValueError, match="on average more than tolerance"):
        found.check(0.5 * found.mean / found.spread, on_average=True)
    compare(model, model, images).check(0.02)


def test_several_labels_agree_if_all_of_them_do(deployed, images):
    model = deployed(task="multi_label")

    def one_label_turned(image):
        probability = model(image)
        probability[:, 1] = 1 - probability[:, 1]
        return probability

    assert compare(model, model, images).agreeing == 6
    assert compare(model, one_label_turned, images).agreeing == 0


def test_values_are_compared_in_their_deviations(deployed, images):
    model = deployed(task="regression")
    expected = torch.stack([model.reference(image) for image in images])

    def run(image):
        return model(image) + torch.tensor(
            [0.0, 0.05, 0.0]
        )  # half a deviation of the second value, a thousandth of the first

    found = compare(model, run, images)
    assert found.agreeing is None
    assert found.difference == pytest.approx(0.5, rel=1e-3)
    spread = (expected.amax(0) - expected.amin(0)) / torch.tensor([50.0, 0.1, 3.0])
    assert found.spread == pytest.approx(spread.max().item(), rel=1e-4)
    with pytest.raises(
        ValueError, match=r"the export's values differ by at most 0\.5 .* deviations, more than tolerance"
    ):
        found.check(0.001)
    compare(model, model, images).check(0.02)


def test_nan_is_refused(deployed, images):
    model = deployed()
    with pytest.raises(ValueError, match="nan"):
        compare(model, lambda image: model(image) * float("nan"), images).check(0.5)


def test_images_that_are_all_alike_say_nothing(deployed, images):
    model = deployed()
    with pytest.raises(ValueError, match="each of the 2 images the same probabilities"):
        compare(model, model, [images[0], images[0]]).check(0.02)
