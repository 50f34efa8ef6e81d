import pytest
import torch
from scipy.stats import entropy as scipys
from torch.nn.functional import kl_div
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_calibration_error

from lightning_transfer.metrics.agreement import Answers, agreement_figures, agrees, divergence, entropy

K, N = 8, 200
UNLABELLED = {"agreement", "agreement_top5", "kl", "logit_distance", "entropy", "teacher_entropy"}  # need no label


def answers(logits):
    return Answers(logits, logits.softmax(dim=1))


@pytest.fixture
def split():
    target = torch.randint(K, (N,))
    teacher = torch.randn(N, K) + 2 * torch.nn.functional.one_hot(target, K)
    return answers(teacher + torch.randn(N, K)), answers(teacher), target


def test_figures_are_those_of_torch_torchmetrics_and_scipy(split):
    student, teacher, target = split
    found = agreement_figures(*split, top_k=3)
    chosen = teacher.logits.argmax(1)
    wrong = chosen != target
    expected = {
        "agreement": multiclass_accuracy(student.logits, chosen, K, average="micro"),
        "agreement_top3": multiclass_accuracy(student.logits, chosen, K, average="micro", top_k=3),
        "agreement_teacher_right": multiclass_accuracy(student.logits[~wrong], target[~wrong], K, average="micro"),
        "agreement_teacher_wrong": multiclass_accuracy(student.logits[wrong], chosen[wrong], K, average="micro"),
        "kl": kl_div(student.logits.log_softmax(1), teacher.probability, reduction="batchmean"),
        "logit_distance": torch.nn.PairwiseDistance(eps=0)(student.logits, teacher.logits).mean(),
        "accuracy": multiclass_accuracy(student.logits, target, K, average="micro"),
        "teacher_accuracy": multiclass_accuracy(teacher.logits, target, K, average="micro"),
        "entropy": scipys(student.probability, axis=1).mean(),
        "teacher_entropy": scipys(teacher.probability, axis=1).mean(),
        "ece": multiclass_calibration_error(student.logits, target, K),
        "teacher_ece": multiclass_calibration_error(teacher.logits, target, K),
    }
    assert {name: found.pop(name) for name in expected} == pytest.approx(
        {k: float(v) for k, v in expected.items()}, abs=1e-6
    )
    assert set(found) == {"student_beats_teacher", "teacher_beats_student"}


def test_four_images_counted_by_hand():
    """The teacher says 0 0 1 2, the student 0 1 1 0; the truth is 0 1 2 2."""
    teacher, student = (10 * torch.eye(3)[list(said)] for said in ((0, 0, 1, 2), (0, 1, 1, 0)))
    found = agreement_figures(answers(student), answers(teacher), torch.tensor([0, 1, 2, 2]), top_k=1)
    assert found["agreement"] == found["agreement_top1"] == 0.5
    assert (found["agreement_teacher_right"], found["agreement_teacher_wrong"]) == (0.5, 0.5)
    assert (found["accuracy"], found["teacher_accuracy"]) == (0.5, 0.5)
    assert (found["student_beats_teacher"], found["teacher_beats_student"]) == (0.25, 0.25)


def test_the_top_is_the_students(split):
    teacher, student = torch.tensor([[9.0, 1, 0, 0]]), torch.tensor([[1.0, 3, 2, 0]])
    assert [agrees(student, teacher, k).item() for k in (1, 2, 3, 4)] == [False, False, True, True]
    assert not agrees(teacher, student, 1).item()
    assert "agreement_top8" not in agreement_figures(*split, top_k=K)


def test_shares_that_belong_together(split):
    found = agreement_figures(*split)
    gain = found["student_beats_teacher"] - found["teacher_beats_student"]
    assert found["accuracy"] - found["teacher_accuracy"] == pytest.approx(gain)
    right = found["teacher_accuracy"]
    both = right * found["agreement_teacher_right"] + (1 - right) * found["agreement_teacher_wrong"]
    assert both == pytest.approx(found["agreement"])


def test_a_copy_agrees_in_everything(split):
    _, teacher, target = split
    found = agreement_figures(teacher, teacher, target)
    assert found["agreement"] == found["agreement_teacher_right"] == found["agreement_teacher_wrong"] == 1
    assert found["kl"] == pytest.approx(0, abs=1e-6)
    assert found["logit_distance"] == found["student_beats_teacher"] == 0
    assert found["ece"] == found["teacher_ece"]


def test_divergence_and_entropy_in_closed_form():
    sure = torch.tensor([[1.0, 0, 0, 0]])
    assert entropy(sure).item() == 0
    assert entropy(torch.full((1, 4), 0.25)).item() == pytest.approx(torch.tensor(4.0).log().item())
    assert divergence(sure, torch.zeros(1, 4)).item() == pytest.approx(torch.tensor(4.0).log().item())
    assert divergence(sure, torch.tensor([[-1000.0, 0, 0, 0]])).item() == pytest.approx(
        1000 + torch.tensor(3.0).log().item()
    )
    logits, p = torch.randn(2, 4), torch.rand(2, 4).softmax(1)
    torch.testing.assert_close(divergence(p, logits), divergence(p, logits + 5), atol=1e-6, rtol=0)


def test_an_average_above_one_by_a_rounding_is_still_a_probability():
    probability = torch.tensor([[1.0000001, 0], [0, 1]])
    found = agreement_figures(answers(10 * torch.eye(2)), Answers(10 * torch.eye(2), probability), torch.tensor([0, 1]))
    assert found["teacher_ece"] == 0


def test_unknown_labels_leave_out_what_needs_them(split):
    student, teacher, target = split
    known = agreement_figures(student, teacher, torch.where(torch.arange(N) < 150, target, -1))
    first = agreement_figures(*(Answers(*(part[:150] for part in said)) for said in (student, teacher)), target[:150])
    whole = agreement_figures(*split)
    for name, value in known.items():
        assert value == (whole if name in UNLABELLED else first)[name], name
    nothing = agreement_figures(student, teacher, torch.full((N,), -1))
    assert {name for name, value in nothing.items() if value is not None} == UNLABELLED
    perfect = agreement_figures(student, teacher, teacher.logits.argmax(1))
    assert perfect["agreement_teacher_wrong"] is None
