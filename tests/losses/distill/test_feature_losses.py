"""Losses on features: reference values, what the published codes return, invariances and unlike shapes."""

import pytest
import torch
from torch.nn.functional import mse_loss

from lightning_transfer.losses.distill import (
    PKT,
    RKD,
    AttentionTransfer,
    FeatureRegression,
    FitNetHint,
    InfoNCE,
    SimilarityPreserving,
)
from lightning_transfer.losses.distill.projector import make_projector

FS = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 2.0]])
FT = torch.tensor([[1.0, 1.0], [0.0, 1.0], [2.0, 0.0]])
NONE = torch.tensor([0])


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (SimilarityPreserving(), 0.174619),
        (RKD(1, 0), 0.0624685),
        (RKD(0, 1), 0.1631902),
        (RKD(), 9.721224),
        (PKT(), 0.0150384),
    ],
    ids=["sp", "rkd distance", "rkd angle", "rkd", "pkt"],
)
def test_equals_values_computed_by_hand(seen, loss, expected):
    assert loss(seen(FS), seen(FT), NONE).item() == pytest.approx(expected, rel=2e-5)


# RepDistiller b84f547, run on these features
@pytest.mark.parametrize(
    ("loss", "shapes", "published"),
    [
        (AttentionTransfer(), ((4, 3, 6, 6), (4, 5, 3, 3)), 0.04291297495365143),
        (SimilarityPreserving(), ((4, 3, 6, 6), (4, 5, 3, 3)), 0.0043026418425142765),
        (RKD(), ((6, 5), (6, 7)), 4.829046249389648),
        (PKT(), ((6, 5), (6, 7)), 0.024920599535107613),
    ],
    ids=["at", "sp", "rkd", "pkt"],
)
def test_equals_the_published_code(made, seen, loss, shapes, published):
    student, teacher = seen(made(*shapes[0])), seen(made(*shapes[1], shift=1.0))
    assert loss(student, teacher, NONE).item() == pytest.approx(published, rel=2e-5)


def rotation(width):
    return torch.linalg.qr(torch.randn(width, width))[0]


@pytest.mark.parametrize("side", ["student", "teacher"])
def test_rkd_ignores_scale_rotation_and_shift(seen, side):
    s, t = torch.randn(8, 4), torch.randn(8, 6)
    value = RKD()(seen(s), seen(t), NONE).item()
    if side == "student":
        s = 3 * s @ rotation(4) + 2
    else:
        t = 0.3 * t @ rotation(6) - 1
    assert RKD()(seen(s), seen(t), NONE).item() == pytest.approx(value, rel=1e-4)
    assert RKD()(seen(s), seen(2 * s), NONE).item() == pytest.approx(0, abs=1e-6)


def test_rkd_stands_images_that_coincide_and_a_batch_of_one(seen):
    student = torch.randn(4, 3)
    student[1] = student[0]
    student.requires_grad_()
    RKD()(seen(student), seen(torch.randn(4, 3)), NONE).backward()
    assert student.grad.isfinite().all()
    assert RKD()(seen(FS[:1]), seen(FT[:1]), NONE).item() == 0


def test_pkt_and_sp_ignore_rotation_and_their_order_of_images(seen):
    s, t, order = torch.randn(8, 4), torch.randn(8, 6), torch.randperm(8)
    for loss in (PKT(), SimilarityPreserving()):
        value = loss(seen(s), seen(t), NONE).item()
        assert loss(seen(2 * s @ rotation(4)), seen(t), NONE).item() == pytest.approx(value, rel=1e-3)
        assert loss(seen(s[order]), seen(t[order]), NONE).item() == pytest.approx(value, rel=1e-4)


def test_attention_ignores_scale_and_order_of_channels_and_is_bounded(seen):
    s, t = torch.randn(4, 6, 5, 3), torch.randn(4, 2, 5, 3)
    loss = AttentionTransfer()
    value = loss(seen(s), seen(t), NONE).item()
    assert loss(seen(3 * s[:, torch.randperm(6)]), seen(t), NONE).item() == pytest.approx(value, rel=1e-5)
    assert 0 < value <= 2 / 15
    assert loss(seen(s), seen(s), NONE).item() == 0


def test_attention_by_the_papers_equation_is_a_length(seen):
    one, other = torch.tensor([[[[1.0, 0.0]]]]), torch.tensor([[[[0.0, 5.0]]]])
    assert AttentionTransfer(mode="paper")(seen(one), seen(other), NONE).item() == pytest.approx(2**0.5)


def test_attention_sums_pairs_of_maps_that_are_not_square_or_alike(seen):
    s = {"a": torch.randn(2, 3, 8, 4), "b": torch.randn(2, 3, 2, 6)}
    t = {"x": torch.randn(2, 5, 4, 8), "y": torch.randn(2, 5, 4, 3)}
    both = AttentionTransfer(["a", "b"], ["x", "y"])(seen(**s), seen(**t), NONE)
    parts = [AttentionTransfer([a], [x])(seen(**s), seen(**t), NONE) for a, x in (("a", "x"), ("b", "y"))]
    torch.testing.assert_close(both, sum(parts))
    tokens = AttentionTransfer()(seen(torch.randn(2, 7, 4)), seen(torch.randn(2, 7, 9)), NONE)
    assert tokens > 0
    with pytest.raises(ValueError, match=r"student's \(3, 4, 4\) with the teacher's \(7, 9\)"):
        AttentionTransfer().prepare(seen(torch.randn(2, 3, 4, 4)), seen(torch.randn(2, 7, 9)), None)


@pytest.mark.parametrize(
    ("student", "teacher", "kind"),
    [
        ((3, 8, 8), (5, 4, 4), "Conv2d(3, 5, kernel_size=(3, 3), stride=(2, 2), padding=(1, 1))"),
        ((3, 4, 4), (5, 8, 8), "ConvTranspose2d(3, 5, kernel_size=(4, 4), stride=(2, 2), padding=(1, 1))"),
        ((3, 6, 4), (5, 4, 4), "Conv2d(3, 5, kernel_size=(3, 1), stride=(1, 1))"),
        ((9, 6), (9, 4), "Linear(in_features=6, out_features=4, bias=True)"),
        ((6,), (4,), "Linear(in_features=6, out_features=4, bias=True)"),
    ],
)
def test_a_projector_reaches_the_teachers_shape(student, teacher, kind):
    feature = torch.randn(2, *student)
    projector = make_projector(feature, torch.randn(2, *teacher))
    assert projector(feature).shape == (2, *teacher)
    assert kind in repr(projector)


@pytest.mark.parametrize(
    ("student", "teacher"), [((3, 4, 4), (5, 7, 7)), ((3, 4, 4), (16, 5)), ((9, 6), (8, 6)), ((6,), (3, 4, 4))]
)
def test_shapes_that_cannot_be_joined_get_a_sentence(student, teacher):
    with pytest.raises(ValueError, match="no projector joins the student's"):
        make_projector(torch.randn(2, *student), torch.randn(2, *teacher))


def test_hints_are_the_mean_square_behind_projectors_and_can_reach_zero(seen):
    s = {"a": torch.randn(4, 3, 6, 6), "b": torch.randn(4, 7)}
    t = {"x": torch.randn(4, 5, 3, 3), "y": torch.randn(4, 2)}
    loss = FitNetHint(["a", "b"], ["x", "y"])
    loss.prepare(seen(**s), seen(**t), None)
    first, second = (projector(s[key]) for projector, key in zip(loss.projectors, "ab", strict=True))
    torch.testing.assert_close(loss(seen(**s), seen(**t), NONE), mse_loss(first, t["x"]) + mse_loss(second, t["y"]))
    exact = FitNetHint(["b"], ["y"])
    exact.prepare(seen(**s), seen(**t), None)
    taught = seen(y=exact.projectors[0](s["b"]).detach())
    assert exact(seen(**s), taught, NONE).item() == pytest.approx(0, abs=1e-10)


def test_info_nce_is_cross_entropy_over_batch_and_queue(seen):
    loss = InfoNCE(queue=5, temperature=0.5)
    s, t = torch.randn(3, 4), torch.randn(3, 6)
    loss.prepare(seen(s), seen(t), None)
    unit = torch.nn.functional.normalize
    met = torch.empty(0, 6)
    for step in range(4):
        s, t = torch.randn(3, 4), torch.randn(3, 6)
        everyone = torch.cat([unit(t), met[-5:]])
        scores = unit(loss.projector(s)) @ everyone.T / 0.5
        expected = -(scores.diagonal() - scores.logsumexp(1)).mean()
        torch.testing.assert_close(loss(seen(s), seen(t), NONE), expected, msg=f"step {step}")
        met = torch.cat([met, unit(t)])


def test_info_nce_of_one_image_without_queue_is_zero(seen):
    loss = InfoNCE()
    loss.prepare(seen(FS[:1]), seen(FT[:1]), None)
    assert loss(seen(FS[:1]), seen(FT[:1]), NONE).item() == 0


ALL = [
    (FitNetHint(), True),
    (AttentionTransfer(), True),
    (AttentionTransfer(mode="paper"), True),
    (SimilarityPreserving(), True),
    (RKD(), False),
    (PKT(), False),
    (InfoNCE(queue=4), False),
]


@pytest.mark.parametrize(("loss", "map_"), ALL, ids=[type(loss).__name__ for loss, _ in ALL])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_gradient_goes_to_the_student_alone_and_is_finite_in_half_precision(seen, loss, map_, dtype):
    shape = (4, 3, 6, 6) if map_ else (4, 3)
    student = (100 * torch.randn(shape)).to(dtype).requires_grad_()
    teacher = (100 * torch.randn(shape)).to(dtype).requires_grad_()
    loss.prepare(seen(student), seen(teacher), None)
    loss(seen(student), seen(teacher), NONE).backward()
    assert student.grad.isfinite().all()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None


def test_layers_come_in_pairs():
    with pytest.raises(ValueError, match=r"student_layers=\['a'\] and teacher_layers=\[\] are compared pair by pair"):
        RKD(student_layers=["a"])
    with pytest.raises(ValueError, match="InfoNCE compares one pair"):
        InfoNCE(student_layers=["a", "b"], teacher_layers=["a", "b"])


def test_a_teacher_without_maps_is_asked_for_layers(seen):
    from lightning_transfer.contracts import logits_only

    with pytest.raises(ValueError, match="the teacher shows none; name layers"):
        FitNetHint().prepare(seen(torch.randn(2, 3, 4, 4)), logits_only(torch.zeros(2, 3)), None)


def test_regression_is_the_mean_squared_difference_summed_over_layers_and_moves_the_student_alone(seen):
    student, teacher = torch.randn(4, 3, 5, 5, requires_grad=True), torch.randn(4, 3, 5, 5, requires_grad=True)
    loss = FeatureRegression(["a", "b"], ["c", "d"])
    shown = seen(a=student, b=2 * student), seen(c=teacher, d=teacher)
    loss.prepare(*shown, None)
    value = loss(*shown, NONE)
    torch.testing.assert_close(value, (student - teacher).square().mean() + (2 * student - teacher).square().mean())
    value.backward()
    assert student.grad.abs().sum() > 0
    assert teacher.grad is None
    assert FeatureRegression()(seen(teacher), seen(teacher), NONE) == 0


def test_regression_of_unlike_shapes_gets_a_sentence(seen):
    with pytest.raises(ValueError, match=r"student's \(3, 4, 4\) cannot be the teacher's \(5, 4, 4\).*FitNetHint"):
        FeatureRegression().prepare(seen(torch.rand(2, 3, 4, 4)), seen(torch.rand(2, 5, 4, 4)), None)
