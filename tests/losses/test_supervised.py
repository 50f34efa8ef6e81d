import pytest
import torch
from torch.nn.functional import cross_entropy, huber_loss

from lightning_transfer.losses.supervised import BinaryCrossEntropy, CrossEntropy, Focal, SmoothL1


def made(loss, num_classes=4):
    loss.set_num_classes(num_classes)
    return loss


def test_cross_entropy_equals_torch_with_weights_and_smoothing():
    loss, logits, target = made(CrossEntropy(0.1)), torch.randn(6, 4), torch.randint(4, (6,))
    weight = torch.tensor([1.0, 2.0, 0.5, 3.0])
    loss.set_class_weight(weight)
    torch.testing.assert_close(loss(logits, target), cross_entropy(logits, target, weight, label_smoothing=0.1))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_soft_targets_that_are_hard_count_like_class_numbers(smoothing):
    loss, logits, target = made(CrossEntropy(smoothing)), torch.randn(6, 4), torch.randint(4, (6,))
    loss.set_class_weight(torch.tensor([1.0, 2.0, 0.5, 3.0]))
    torch.testing.assert_close(loss(logits, torch.eye(4)[target]), loss(logits, target))


def test_the_loss_of_a_mixture_is_the_mixture_of_losses():
    loss, logits, target = made(CrossEntropy()), torch.randn(6, 4), torch.randint(4, (6,))
    soft = 0.3 * torch.eye(4)[target] + 0.7 * torch.eye(4)[target.roll(1)]
    torch.testing.assert_close(loss(logits, soft), 0.3 * loss(logits, target) + 0.7 * loss(logits, target.roll(1)))


def test_focal_without_focus_is_cross_entropy():
    logits, target = torch.randn(6, 4), torch.randint(4, (6,))
    torch.testing.assert_close(made(Focal(0))(logits, target), cross_entropy(logits, target))


def test_focal_equals_the_formula():
    logits, target = torch.randn(6, 4), torch.randint(4, (6,))
    p = logits.softmax(-1)[torch.arange(6), target]
    torch.testing.assert_close(made(Focal(2))(logits, target), ((1 - p) ** 2 * -p.log()).mean())


def test_smooth_l1_is_hubers_loss_over_beta():
    value, target = 3 * torch.randn(6, 2), torch.randn(6, 2)
    torch.testing.assert_close(SmoothL1(0.7)(value, target), huber_loss(value, target, delta=0.7) / 0.7)


def test_balance_gives_weights_whose_mean_over_samples_is_one():
    loss, counts = made(CrossEntropy(), 3), torch.tensor([10, 30, 60])
    loss.balance(counts, 100)
    assert (loss.class_weight * counts).sum().item() / 100 == pytest.approx(1)
    assert loss.class_weight[0] / loss.class_weight[2] == pytest.approx(6)


def test_binary_balance_makes_both_sides_alike():
    loss = made(BinaryCrossEntropy(), 1)
    loss.balance(torch.tensor([1]), 4)
    logits = torch.zeros(4, 1, requires_grad=True)
    loss(logits, torch.tensor([[1.0], [0.0], [0.0], [0.0]])).backward()
    assert logits.grad.sum().item() == pytest.approx(0, abs=1e-7)


@pytest.mark.parametrize("loss", [CrossEntropy(), Focal(), BinaryCrossEntropy()])
def test_is_finite_in_half_precision(loss):
    logits = torch.tensor([[60.0, -60.0]], dtype=torch.float16, requires_grad=True)
    target = torch.tensor([1]) if not isinstance(loss, BinaryCrossEntropy) else torch.tensor([[0.0, 1.0]])
    value = made(loss, 2)(logits, target)
    value.backward()
    assert value.isfinite()
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: CrossEntropy(1.0), "label_smoothing=1.0"),
        (lambda: Focal(-1), "gamma=-1"),
        (lambda: SmoothL1(0), "beta=0"),
    ],
)
def test_refuses_values_out_of_range(make, name):
    with pytest.raises(ValueError, match=name):
        make()
