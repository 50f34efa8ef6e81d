import math

import pytest
import torch
from torch import eye
from torch.nn.functional import cross_entropy, normalize

from lightning_transfer.losses.pair import BYOL, DINO, MoCo, MoCoV3, NTXent, SupCon, VICReg

UNKNOWN = torch.full((8,), -1)
TARGET = torch.tensor([0, 0, 1, 1, 2, 2, 0, 1])


def views(count=2, images=8, width=16):
    return [torch.randn(images, width, dtype=torch.double).float() for _ in range(count)]


def built(loss, width=16):
    loss.build(width)
    return loss


ALL = [
    (lambda: NTXent(0.5), False),
    (lambda: SupCon(0.5), False),
    (lambda: MoCo(16, 0.5), True),
    (lambda: MoCoV3(0.5), True),
    (BYOL, True),
    (DINO, True),
    (VICReg, False),
]


def slow(embeddings, kinds, temperature):
    """L_out of Khosla et al., term by term."""
    z = normalize(torch.cat(embeddings)).double()
    kinds = kinds.repeat(len(embeddings)).tolist()
    total, anchors = 0.0, 0
    for i in range(len(z)):
        others = [j for j in range(len(z)) if j != i]
        positives = [j for j in others if kinds[j] == kinds[i]]
        if positives:
            log_sum = math.log(sum(math.exp(z[i] @ z[j] / temperature) for j in others))
            total -= sum((z[i] @ z[j]).item() / temperature - log_sum for j in positives) / len(positives)
            anchors += 1
    return total / anchors


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("temperature", [0.1, 0.5])
def test_contrast_equals_a_slow_loop(count, temperature):
    seen = views(count)
    assert NTXent(temperature)(seen, [], UNKNOWN).item() == pytest.approx(
        slow(seen, torch.arange(8), temperature), rel=1e-5
    )
    assert SupCon(temperature)(seen, [], TARGET).item() == pytest.approx(slow(seen, TARGET, temperature), rel=1e-5)


def test_an_image_alone_in_its_class_is_no_anchor():
    seen, target = views(1), torch.tensor([0, 0, 1, 2, 2, 3, 4, 5])
    found = SupCon(0.1)(seen, [], target).item()
    assert found == pytest.approx(slow(seen, target, 0.1), rel=1e-5)  # the mean over four
    kept = target != 3
    assert found != pytest.approx(SupCon(0.1)([seen[0][kept]], [], target[kept]).item())  # but it is a negative


def test_supervised_contrast_by_image_is_that_between_images():
    seen = views()
    torch.testing.assert_close(SupCon(0.2)(seen, [], torch.arange(8)), NTXent(0.2)(seen, [], UNKNOWN))


def test_the_value_by_hand_does_not_overflow_where_the_temperature_is_small():
    pairs = [eye(2), eye(2)]
    assert NTXent(0.5)(pairs, [], UNKNOWN).item() == pytest.approx(0.2395448, abs=1e-7)
    assert NTXent(1e-3)(pairs, [], UNKNOWN).item() == pytest.approx(0, abs=1e-6)


def test_at_random_it_is_the_logarithm_of_the_others():
    torch.manual_seed(1)
    assert NTXent(1.0)(views(2, 64, 512), [], UNKNOWN).item() == pytest.approx(math.log(127), abs=0.05)


@pytest.mark.parametrize("queue", [4, 100])
def test_an_orthogonal_queue(queue):
    loss = built(MoCo(queue, 0.2), 8)
    loss.queue.zero_()[:, 7] = 1
    key = eye(8)[:3]
    assert loss([key], [key], UNKNOWN[:3]).item() == pytest.approx(math.log1p(queue * math.exp(-1 / 0.2)), rel=1e-5)


def test_the_queue_holds_the_newest_keys_of_training_alone():
    loss = built(MoCo(10))
    keys = [normalize(torch.randn(4, 16)) for _ in range(4)]
    before = loss.eval().queue.clone()
    loss([keys[0]], [keys[0]], UNKNOWN)
    assert torch.equal(loss.queue, before)
    loss.train()
    for key in keys:
        loss([key], [key], UNKNOWN)
    held = torch.cat(keys)[-10:]
    assert {tuple(row.tolist()) for row in loss.queue} == {tuple(row.tolist()) for row in normalize(held)}
    assert loss.pushed == 16


def test_momentum_contrast_equals_cross_entropy_with_the_queue_as_it_was():
    loss = built(MoCo(16, 0.3))
    (query, key), queue = views(), loss.queue.clone()
    q, k = normalize(query), normalize(key)
    logits = torch.cat([(q * k).sum(1, keepdim=True), q @ queue.T], 1) / 0.3
    torch.testing.assert_close(loss([query], [key], UNKNOWN), cross_entropy(logits, torch.zeros(8).long()))


def test_moco_v3_is_symmetric_and_scaled_by_twice_its_temperature():
    student, teacher = views(), views()
    expected = 0.0
    for q, k in ((student[0], teacher[1]), (student[1], teacher[0])):
        expected += 2 * 0.3 * cross_entropy(normalize(q) @ normalize(k).T / 0.3, torch.arange(8))
    torch.testing.assert_close(MoCoV3(0.3)(student, teacher, UNKNOWN), expected)
    torch.testing.assert_close(MoCoV3(0.3)(student[::-1], teacher[::-1], UNKNOWN), expected)


def test_byol_is_the_distance_of_directions():
    student, teacher = views(), views()
    apart = [(normalize(q) - normalize(k)).square().sum(1).mean() for q, k in zip(student, teacher[::-1], strict=True)]
    torch.testing.assert_close(BYOL()(student, teacher, UNKNOWN), sum(apart))
    assert BYOL()(student, [7 * student[1], 0.1 * student[0]], UNKNOWN).item() == pytest.approx(0, abs=1e-5)


def test_dino_compares_each_large_view_with_all_others():
    loss = built(DINO())
    loss.centre.normal_()
    centre, student, teacher = loss.centre.clone(), views(4), views(2)
    terms = []
    for t in range(2):
        p = ((teacher[t] - centre) / 0.04).softmax(1)
        terms += [cross_entropy(student[s] / 0.1, p) for s in range(4) if s != t]
    assert len(terms) == 6
    torch.testing.assert_close(loss(student, teacher, UNKNOWN), torch.stack(terms).mean())
    torch.testing.assert_close(loss.centre, 0.9 * centre + 0.1 * torch.cat(teacher).mean(0))
    moved = loss.centre.clone()
    loss.eval()(student, teacher, UNKNOWN)
    assert torch.equal(loss.centre, moved)


def test_dino_collapsed_to_what_is_uniform_is_the_logarithm_of_the_prototypes():
    loss = built(DINO(), 4096)
    alike = [torch.full((8, 4096), 0.3)] * 2
    assert loss(alike, alike, UNKNOWN).item() == pytest.approx(8.3178, abs=1e-4)
    assert loss.uniform() == pytest.approx(math.log(4096))


def test_vicreg_equals_its_parts():
    first, second = views(2, 8, 5)
    invariance = (first - second).square().mean()
    variance = sum((1 - (z.var(0) + 1e-4).sqrt()).clamp(min=0).mean() for z in (first, second)) / 2
    covariance = 0.0
    for z in (first, second):
        found = torch.cov(z.T)
        covariance += sum(found[i, j] ** 2 for i in range(5) for j in range(5) if i != j) / 5
    torch.testing.assert_close(
        VICReg(25, 25, 1)([first, second], [], UNKNOWN), 25 * invariance + 25 * variance + covariance
    )


@pytest.mark.parametrize(("make", "taught"), ALL)
def test_whose_view_is_which_does_not_matter_and_the_gradient_is_the_students(make, taught):
    student = [view.requires_grad_() for view in views()]
    teacher = [view.requires_grad_() for view in views()] if taught else []
    loss = built(make()).eval()
    value = loss(student, teacher, TARGET)
    if loss.student_views is None:
        torch.testing.assert_close(loss(student[::-1], teacher[::-1], TARGET), value)
    order = torch.randperm(8)
    torch.testing.assert_close(
        loss([v[order] for v in student], [v[order] for v in teacher], TARGET[order]), value, rtol=1e-4, atol=1e-5
    )
    value.backward()
    assert student[0].grad.abs().sum() > 0


@pytest.mark.parametrize(("make", "taught"), ALL)
def test_is_finite_in_half_precision(make, taught):
    student = [30 * view.half() for view in views()]
    loss = built(make())
    value = loss(student, student if taught else [], TARGET)
    assert value.dtype == torch.float32
    assert value.isfinite()


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: NTXent(0), "temperature=0 of NTXent must be positive"),
        (lambda: MoCo(0), "queue=0 of MoCo must be at least 1"),
        (lambda: built(MoCo(7))(views(1), views(1), UNKNOWN), "queue=7 of MoCo is shorter than the 8 images"),
        (lambda: NTXent()(views(2, 1), [], UNKNOWN[:1]), "one image has no negatives for NTXent"),
        (lambda: MoCoV3()(views(2, 1), views(2, 1), UNKNOWN[:1]), "one image has no negatives for MoCoV3"),
        (lambda: VICReg()(views(2, 1), [], UNKNOWN[:1]), "one image has no variance"),
        (lambda: VICReg(variance=-1), "variance=-1.*must not be negative"),
        (lambda: SupCon()(views(1), [], torch.arange(8)), "no two of the batch's 8 images.*data.views=2"),
        (lambda: SupCon()(views(1), [], UNKNOWN), "have no label, which SupCon needs"),
        (lambda: DINO(0.1, 0.2), "the teacher's the less"),
        (lambda: DINO(centre_momentum=2), r"centre_momentum=2 of DINO must lie in \[0, 1\]"),
    ],
)
def test_refuses(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()
