import pytest
import torch
from sklearn.metrics import average_precision_score, r2_score

from lightning_transfer.contracts import Embedded
from lightning_transfer.parts import describe
from lightning_transfer.probes import KnnProbe, LogisticProbe, RidgeProbe, SgdProbe
from lightning_transfer.probes.selection import best, score

ALL = [LogisticProbe, SgdProbe, KnnProbe, RidgeProbe]


def test_scores():
    logits = torch.tensor([[2.0, 1.0], [0.0, 1.0], [3.0, 0.0], [0.0, 9.0]])
    assert score(logits, torch.tensor([0, 1, 1, 1])) == 0.75
    assert score(logits.fill_(float("nan")), torch.tensor([0, 1, 1, 1])) < 0
    logits, target = torch.randn(20, 3), torch.randint(2, (20, 3))
    expected = average_precision_score(target.numpy(), logits.sigmoid().numpy(), average="macro")
    assert score(logits, target.float()) == pytest.approx(expected, abs=1e-6)
    numbers = logits + 0.3 * torch.randn(20, 3)
    expected = r2_score(numbers.numpy(), logits.numpy())
    assert score(logits, numbers, "regression") == pytest.approx(expected, abs=1e-5)


def test_of_equals_the_first():
    assert best([0.1, 0.7, 0.3, 0.7]) == 1


@pytest.mark.parametrize("probe", ALL)
def test_all_refuse_what_cannot_be_learned(probe, clusters):
    train = clusters(3)
    with pytest.raises(
        ValueError,
        match=r"no validation images to choose one of \d+; set data.val_fraction above 0, or leave no choice: .*=\[",
    ):
        probe().fit(train, None, 3)
    with pytest.raises(ValueError, match=r"targets lie in \[0, 2\], but num_classes=2"):
        probe().fit(train, train, 2)
    with pytest.raises(ValueError, match=r"one class or none"):
        probe().fit(train._replace(target=torch.zeros(90, dtype=torch.long)), train, 3)
    with pytest.raises(ValueError, match=r"targets have 3 classes, but num_classes=4"):
        probe().fit(clusters(3, several=True), None, 4)
    with pytest.raises(ValueError, match=r"must be \(N, D\) and N"):
        probe().fit(Embedded(train.embedding[:5], train.target), None, 3)
    assert describe(probe())["init_args"].keys() >= set(probe().init_args)


@pytest.mark.parametrize("probe", ALL)
@pytest.mark.parametrize("several", [False, True])
def test_all_learn_what_can_be_learned(probe, several, clusters):
    options = {"noise": 0.3, "width": 12, "several": several}
    train, val, test = (clusters(3, 120, seed=seed, **options) for seed in range(3))
    train, val, test = (part._replace(embedding=part.embedding.float()) for part in (train, val, test))
    head = probe().fit(train, val, 3).head
    assert score(head(test.embedding), test.target) > 0.9


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LogisticProbe([]), r"c=\[\] must hold at least one value"),
        (lambda: LogisticProbe([0.0]), r"c=\[0.0\].*positive"),
        (lambda: LogisticProbe(tolerance=0), "tolerance=0 must be positive"),
        (lambda: RidgeProbe([-1.0]), r"strength=\[-1.0\]"),
        (lambda: KnnProbe([0]), r"k=\[0\]"),
        (lambda: SgdProbe(()), r"learning_rates=\[\]"),
    ],
)
def test_values_out_of_range_get_a_sentence(make, message):
    with pytest.raises(ValueError, match=message):
        make()
