import numpy as np
import pytest
import torch

from lightning_transfer.metrics.correlation import class_mean_difference, correlation, correlation_difference, sizes

GENERATOR = torch.Generator().manual_seed(0)
TEACHER = torch.randn(60, 5, generator=GENERATOR) @ torch.randn(5, 5, generator=GENERATOR) + 2
STUDENT = TEACHER + torch.randn(60, 5, generator=GENERATOR)
TARGET = torch.arange(60) % 5


def as_the_notebook_does(logits, target, classes):
    """mdistiller's loop over images."""
    matrix, count = np.zeros((classes, classes)), np.zeros((classes, 1))
    for p, label in zip(logits.numpy(), target.tolist(), strict=True):
        count[label, 0] += 1
        matrix[label] += p
    return matrix / count


def test_correlations_are_those_of_torch():
    torch.testing.assert_close(correlation(TEACHER), torch.corrcoef(TEACHER.double().T))
    expected = torch.corrcoef(STUDENT.double().T) - torch.corrcoef(TEACHER.double().T)
    difference = correlation_difference(STUDENT, TEACHER)
    torch.testing.assert_close(difference, expected)
    assert difference.abs().max() > 0.01
    torch.testing.assert_close(difference, -correlation_difference(TEACHER, STUDENT))


def test_class_means_are_those_of_the_notebook():
    expected = np.abs(as_the_notebook_does(STUDENT, TARGET, 5) - as_the_notebook_does(TEACHER, TARGET, 5))
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(class_mean_difference(STUDENT, TEACHER, TARGET).numpy(), expected, atol=1e-6)


def test_identical_networks_differ_nowhere():
    assert not correlation_difference(TEACHER, TEACHER).any()
    assert not class_mean_difference(TEACHER, TEACHER, TARGET).any()


def test_scale_and_shift_of_each_class_change_the_means_alone():
    student = TEACHER * torch.tensor([0.5, 1, 2, 3, 10]) + torch.tensor([-5.0, 0, 1, 2, 3])
    torch.testing.assert_close(correlation_difference(student, TEACHER), torch.zeros(5, 5).double(), atol=1e-6, rtol=0)
    assert class_mean_difference(student, TEACHER, TARGET).max() > 1
    mirrored = correlation_difference(TEACHER * torch.tensor([-1.0, 1, 1, 1, 1]), TEACHER)
    torch.testing.assert_close(mirrored[0, 1:], -2 * correlation(TEACHER)[0, 1:])


@pytest.mark.parametrize("value", [0.0, 0.1, 1e6])
def test_a_logit_that_never_changes_correlates_with_nothing(value):
    dead = STUDENT.clone()
    dead[:, 2] = value
    found = correlation(dead)
    assert found.isfinite().all()
    assert not found[2].any()
    assert not found[:, 2].any()
    torch.testing.assert_close(correlation_difference(dead, TEACHER)[2], -correlation(TEACHER)[2])
    assert not correlation_difference(dead, dead).any()
    assert not correlation(TEACHER[:1]).any()  # of one image nothing can be said


def test_images_without_label_and_classes_without_images():
    target = torch.where(TARGET == 3, -1, TARGET)
    found = class_mean_difference(STUDENT, TEACHER, target)
    expected = class_mean_difference(STUDENT, TEACHER, TARGET)
    assert not found[3].any()
    kept = [0, 1, 2, 4]
    assert torch.equal(found[kept], expected[kept])
    assert not class_mean_difference(STUDENT, TEACHER, torch.full((60,), -1)).any()


def test_sizes():
    assert sizes(torch.tensor([[0.0, -4], [3, 0]])) == {"mean": 1.75, "max": 4, "frobenius": 5}
