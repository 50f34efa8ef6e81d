"""Contrastive representation distillation against the authors' code, closed forms, and what its banks must keep."""

import math

import pytest
import torch
from torch.nn.functional import normalize

from lightning_transfer.losses.distill import CRD
from lightning_transfer.losses.distill.crd import _estimate


def built(seen, targets, width=(5, 7), **options):
    loss = CRD(**{"negatives": 4, "dim": 8, **options})
    loss.prepare(seen(torch.randn(2, width[0])), seen(torch.randn(2, width[1])), targets)
    return loss


def test_equals_the_published_code(made, seen):
    """RepDistiller b84f547, crd/: two steps with the same banks, projections, images and negatives."""
    loss = built(seen, torch.arange(12) % 3)
    with torch.no_grad():
        for projector, width, shift in ((loss.student_projector, 5, 0.0), (loss.teacher_projector, 7, 1.0)):
            projector.weight.copy_(made(8, width, shift=shift))
            projector.bias.copy_(made(8, shift=shift + 2))
        loss.student_bank.copy_(made(12, 8, shift=3.0) / 4)
        loss.teacher_bank.copy_(made(12, 8, shift=4.0) / 4)
    index = torch.tensor([3, 0, 7, 11, 5, 2])
    negatives = (torch.arange(24).reshape(6, 4) * 5 + index[:, None] + 1) % 12
    published = [
        (
            12.31769847869873,
            (5.422743320465088, 6.052511215209961),
            0.772466242313385,
            [0.41217115, -0.2375396, -0.5694989],
        ),
        (
            9.463247299194336,
            (11.712396621704102, 7.894561767578125),
            0.2754194736480713,
            [0.34036416, -0.4186542, -0.5450040],
        ),
    ]
    for call, (value, gradients, total, row) in enumerate(published):
        loss.zero_grad()
        own = normalize(loss.student_projector(made(6, 5, shift=call)))
        taught = normalize(loss.teacher_projector(made(6, 7, shift=1.0 + call)))
        result = loss.contrast(own, taught, index, negatives)
        result.backward()
        assert result.item() == pytest.approx(value, rel=1e-5)
        for projector, gradient in zip((loss.student_projector, loss.teacher_projector), gradients, strict=True):
            assert projector.weight.grad.abs().sum().item() == pytest.approx(gradient, rel=1e-4)
        assert loss.scale.tolist() == pytest.approx([205.03521728515625, 1022.0125732421875], rel=1e-5)
        assert loss.student_bank.sum().item() == pytest.approx(total, rel=1e-4)
        assert loss.teacher_bank[3, :3].tolist() == pytest.approx(row, rel=1e-4)


@pytest.mark.parametrize(("images", "excess"), [(1_000, 0.0001), (50_000, 0.005), (1_281_167, 0.128)])
def test_equal_scores_give_the_closed_form(images, excess):
    k = 16384
    value = _estimate(torch.full((2, k + 1), 1 / images, dtype=torch.float64), k / images).item()
    closed = math.log(k + 1) + k * math.log(1 + 1 / k)
    assert closed == pytest.approx(10.704091, abs=1e-6)
    # the authors' eps adds about N x eps
    assert value == pytest.approx(closed + excess, abs=1e-3)


def test_a_fresh_start_has_the_scale_and_loss_of_random_directions(seen):
    images, dim, tau = 4000, 128, 0.07
    loss = built(seen, torch.arange(images) % 10, negatives=2000, dim=dim)
    view = [normalize(torch.randn(64, dim)) for _ in range(2)]
    index = torch.randperm(images)[:64]
    value = loss.contrast(*view, index, loss._draw(index % 10, index)).item()
    assert loss.scale.tolist() == pytest.approx([images * math.exp(1 / (2 * dim * tau**2))] * 2, rel=0.1)
    k = 2000
    assert value / 2 > math.log(k + 1) + k * math.log(1 + 1 / k)


def test_both_ways_of_scoring_agree(seen):
    small, large = built(seen, torch.arange(500) % 5), built(seen, torch.arange(20) % 5)
    for loss, images in ((small, 500), (large, 20)):
        view, rows = normalize(torch.randn(6, 8)), torch.randint(images, (6, 5))
        expected = ((loss.student_bank[rows] * view.unsqueeze(1)).sum(2) / 0.07).exp()
        torch.testing.assert_close(loss._score(view, loss.student_bank, rows), expected)


def test_negatives_are_of_other_classes_and_all_of_them(seen):
    targets = torch.tensor([2, 0, 1, 0, 2, 2, 0, 1])
    loss = built(seen, targets, negatives=500)
    index = torch.arange(8)
    drawn = loss._draw(targets, index)
    for number, row in zip(index, drawn, strict=True):
        assert set(row.tolist()) == set(torch.nonzero(targets != targets[number]).flatten().tolist())


def test_draws_depend_on_step_and_image_but_not_on_the_batch(seen):
    targets = torch.arange(30) % 3
    loss = built(seen, targets)
    index = torch.tensor([4, 9, 20])
    whole = loss._draw(targets[index], index)
    assert torch.equal(whole[1:], loss._draw(targets[index[1:]], index[1:]))
    loss.steps += 1
    assert not torch.equal(whole, loss._draw(targets[index], index))


def test_a_row_moves_half_way_once_even_if_its_image_is_twice_in_the_batch(seen):
    loss = built(seen, torch.arange(10) % 2)
    before = loss.student_bank.clone()
    view = normalize(torch.randn(3, 8))
    index = torch.tensor([4, 7, 4])
    loss.contrast(view, view, index, torch.tensor([[1], [2], [3]]))
    torch.testing.assert_close(loss.student_bank[7], normalize(before[7] / 2 + view[1] / 2, dim=0))
    torch.testing.assert_close(loss.student_bank[4], normalize(before[4] / 2 + (view[0] + view[2]) / 4, dim=0))
    others = [i for i in range(10) if i not in (4, 7)]
    assert torch.equal(loss.student_bank[others], before[others])


def test_both_projections_learn_the_student_gets_a_gradient_and_the_teacher_none(seen):
    targets = torch.arange(20) % 4
    loss = built(seen, targets)
    student, teacher = torch.randn(6, 5).half().requires_grad_(), torch.randn(6, 7).half().requires_grad_()
    index = torch.arange(6)
    value = loss(seen(student), seen(teacher), targets[index], indices=index)
    value.backward()
    assert value.isfinite()
    assert student.grad.isfinite().all()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert all(p.weight.grad.abs().sum() > 0 for p in (loss.student_projector, loss.teacher_projector))


def test_goes_on_from_its_state_as_if_never_stopped(seen):
    targets = torch.arange(20) % 4

    def run(loss, steps):
        for step in steps:
            generator = torch.Generator().manual_seed(step)
            index = torch.randperm(20, generator=generator)[:6]
            student, teacher = (torch.randn(6, width, generator=generator) for width in (5, 7))
            value = loss(seen(student), seen(teacher), targets[index], indices=index)
        return value

    one, other = built(seen, targets), built(seen, targets)
    run(one, range(3))
    other.load_state_dict(one.state_dict())
    assert torch.equal(run(one, range(3, 6)), run(other, range(3, 6)))
    assert torch.equal(one.student_bank, other.student_bank)


def test_data_that_it_cannot_use_gets_a_sentence(seen):
    for targets in (None, torch.tensor([0, -1]), torch.rand(4, 3)):
        with pytest.raises(ValueError, match="CRD keeps a row for every training image.*take InfoNCE"):
            built(seen, targets)
    with pytest.raises(ValueError, match="all training images are of one"):
        built(seen, torch.zeros(4, dtype=torch.int64))
    loss = built(seen, torch.arange(4) % 2)
    with pytest.raises(ValueError, match="needs the images' indices"):
        loss(seen(torch.randn(2, 5)), seen(torch.randn(2, 7)), torch.tensor([0, 1]))
    for options in ({"negatives": 0}, {"momentum": 1}, {"temperature": 0}, {"dim": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            CRD(**options)
