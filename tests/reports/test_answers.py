import pytest
import torch
from torch import nn

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.contracts import Features, ImageBatch, Prediction
from lightning_transfer.reports.answers import answers, ask
from lightning_transfer.teachers import Ensemble, ModuleTeacher, TimmTeacher

CPU = torch.device("cpu")
IMAGES, TARGET = torch.rand(11, 3, 32, 32), torch.arange(11) % 4


def batches(size=4):
    names = [f"{i}.png" for i in range(11)]
    return [ImageBatch(IMAGES[i : i + size], TARGET[i : i + size], names[i : i + size]) for i in range(0, 11, size)]


def student():
    return FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4)


def loaded(teacher):
    teacher.load()
    return teacher


def test_one_pass_gives_every_networks_answers_in_order():
    teacher, students = loaded(ModuleTeacher(student().model)), [student(), student()]
    found = ask(teacher, students, batches(), 4, CPU)
    whole = ask(teacher, students, batches(11), 4, CPU)
    assert torch.equal(found.target, TARGET)
    for module, said in zip(students, found.students, strict=True):
        with torch.no_grad():
            torch.testing.assert_close(said.logits, module.eval()(IMAGES).logits)
        torch.testing.assert_close(said.probability, said.logits.softmax(1))
    assert found.cka == pytest.approx(whole.cka, abs=1e-6)
    assert all(0 < value < 1 for value in found.cka)


def test_a_network_agrees_with_itself():
    module = student()
    found = ask(loaded(ModuleTeacher(module.model)), [module], batches(), 4, CPU)
    assert torch.equal(found.teacher.logits, found.students[0].logits)
    assert found.cka == [pytest.approx(1)]


def test_an_ensemble_counts_by_shares_and_copies_of_one_are_as_that_one():
    logits = torch.randn(2, 5, 4)
    shares = torch.tensor([0.75, 0.25])
    found = answers(Prediction(logits, Features(torch.empty(5, 0)), shares))
    torch.testing.assert_close(found.logits, 0.75 * logits[0] + 0.25 * logits[1])
    torch.testing.assert_close(found.probability, 0.75 * logits[0].softmax(1) + 0.25 * logits[1].softmax(1))
    alike = answers(Prediction(logits, Features(torch.empty(5, 0))))
    torch.testing.assert_close(alike.logits, logits.mean(0))
    network, learner = student(), student()
    one = ask(loaded(ModuleTeacher(network.model)), [learner], batches(), 4, CPU)
    copies = Ensemble([ModuleTeacher(network.model), ModuleTeacher(network.model)], weights=[3, 1])
    several = ask(loaded(copies), [learner], batches(), 4, CPU)
    for a, b in zip(one.teacher, several.teacher, strict=True):
        torch.testing.assert_close(a, b)
    assert one.cka == pytest.approx(several.cka)  # an embedding twice side by side is the embedding, scaled


class Bare(nn.Module):
    """Shows its logits alone, and refuses images that are no squares of 32 pixels."""

    def __init__(self, classes=4, value=1.0):
        super().__init__()
        self.head = nn.Linear(3 * 32 * 32, classes)
        self.value = value

    def forward(self, image):
        return self.value * self.head(image.flatten(1))


def test_without_embedding_there_is_no_cka():
    (found,) = ask(loaded(ModuleTeacher(Bare())), [student()], batches(), 4, CPU).cka
    assert found != found


def test_complaints():
    with pytest.raises(ValueError, match="the teacher knows 7 classes, the students 4"):
        ask(loaded(TimmTeacher("test_resnet", False, {"num_classes": 7})), [student()], batches(), 4, CPU)
    small = [ImageBatch(IMAGES[:, :, :24], TARGET)]
    with pytest.raises(ValueError, match="the teacher refuses images of 24x32 pixels"):
        ask(loaded(ModuleTeacher(Bare())), [student()], small, 4, CPU)
    with pytest.raises(ValueError, match=r"the logits of 0.png are not all finite"):
        ask(loaded(ModuleTeacher(Bare(value=float("inf")))), [student()], batches(), 4, CPU)
