import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn.functional import cross_entropy

from lightning_transfer.contracts import Embedded
from lightning_transfer.probes import LogisticProbe
from lightning_transfer.probes.logistic import Logistic
from lightning_transfer.probes.selection import one_hot


def probabilities(head, embedding):
    return head(embedding).softmax(1).detach().numpy()


@pytest.mark.parametrize("num_classes", [2, 4])
@pytest.mark.parametrize(("count", "width"), [(90, 7), (20, 60)])
@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("c", [0.01, 3.0])
def test_equals_scikit_learn(clusters, num_classes, count, width, standardise, c):
    train = clusters(num_classes, count, width)
    head = LogisticProbe([c], standardise, tolerance=1e-9).fit(train, None, num_classes).head
    theirs = LogisticRegression(C=c, tol=1e-9, max_iter=10_000)
    model = make_pipeline(StandardScaler(with_std=standardise), theirs)
    model.fit(train.embedding.numpy(), train.target.numpy())
    np.testing.assert_allclose(
        probabilities(head, train.embedding), model.predict_proba(train.embedding.numpy()), atol=1e-5
    )
    scale = model[0].scale_ if standardise else 1
    weight = head.weight.detach().numpy()
    if num_classes == 2:
        weight = weight[1:] - weight[:1]
    np.testing.assert_allclose(weight, theirs.coef_ / scale, atol=1e-5)


def test_reaches_scikit_learns_objective_in_single_precision(clusters):
    train = clusters(5, 400, 30)
    train = train._replace(embedding=train.embedding.float())
    head = LogisticProbe([1.0], standardise=False).fit(train, None, 5).head
    theirs = LogisticRegression(C=1.0, tol=1e-8, max_iter=10_000)
    theirs.fit(train.embedding.double().numpy(), train.target.numpy())

    def objective(weight, bias):
        logits = train.embedding.double() @ weight.double().T + bias
        return cross_entropy(logits, train.target, reduction="sum") + weight.double().square().sum() / 2

    best = objective(torch.from_numpy(theirs.coef_), torch.from_numpy(theirs.intercept_))
    assert objective(head.weight, head.bias).item() == pytest.approx(best.item(), rel=1e-5)
    assert head.weight.dtype == torch.float32


def test_several_labels_are_one_binary_regression_a_class(clusters):
    train = clusters(3, several=True)
    head = LogisticProbe([0.5], standardise=False, tolerance=1e-10).fit(train, None, 3).head
    theirs = OneVsRestClassifier(LogisticRegression(C=0.5, tol=1e-9, max_iter=10_000))
    theirs.fit(train.embedding.numpy(), train.target.numpy())
    ours = head(train.embedding).sigmoid().detach().numpy()
    np.testing.assert_allclose(ours, theirs.predict_proba(train.embedding.numpy()), atol=1e-5)


def test_rows_of_one_label_each_are_still_several_labels(clusters):
    train = clusters(3)
    train = train._replace(target=one_hot(train.target, 3, torch.float32))
    head = LogisticProbe([0.5], tolerance=1e-8).fit(train, None, 3).head
    theirs = make_pipeline(StandardScaler(), OneVsRestClassifier(LogisticRegression(C=0.5, tol=1e-8)))
    theirs.fit(train.embedding.numpy(), train.target.numpy())
    for k, model in enumerate(theirs[1].estimators_):
        weight = head.weight[k].detach().numpy() * theirs[0].scale_
        np.testing.assert_allclose(weight, model.coef_[0], atol=1e-4)


@pytest.mark.parametrize(("num_classes", "exclusive"), [(2, True), (3, True), (3, False)])
def test_gradient_is_that_of_the_objective(clusters, num_classes, exclusive):
    train = clusters(num_classes)
    problem = Logistic(train.embedding, one_hot(train.target, num_classes, torch.float64), exclusive)
    solution = torch.randn_like(problem.start()) / 10
    step = 1e-6 * torch.randn_like(solution)
    ahead, behind = (problem.objective(solution + s, 0.3)[0] for s in (step, -step))
    slope = (problem.objective(solution, 0.3)[1] * step).sum().item()
    assert (ahead - behind) / 2 == pytest.approx(slope, rel=1e-6)


def test_the_path_ends_where_each_fit_alone_does(clusters):
    train, val = clusters(4), clusters(4, seed=1)
    path = LogisticProbe([10.0, 1e-3, 0.1], tolerance=1e-9).fit(train, val, 4)
    alone = LogisticProbe([path.chosen["c"]], tolerance=1e-9).fit(train, None, 4)
    torch.testing.assert_close(path.head.weight, alone.head.weight, rtol=1e-5, atol=1e-6)


def test_validation_chooses(clusters):
    train, val = clusters(3, 30, 40, noise=3.0), clusters(3, 300, 40, noise=3.0, seed=1)
    grid = [1e-5, 1e-3, 1e-1, 10.0]
    fitted = LogisticProbe(grid).fit(train, val, 3)
    accuracy = {
        c: (LogisticProbe([c]).fit(train, None, 3).head(val.embedding).argmax(1) == val.target).float().mean().item()
        for c in grid
    }
    assert len(set(accuracy.values())) > 1
    assert accuracy[fitted.chosen["c"]] == max(accuracy.values())


def test_a_class_that_training_lacks_is_never_chosen(clusters):
    train = clusters(3)
    train = train._replace(target=train.target * 2)  # classes 0, 2, 4 of 5
    head = LogisticProbe([1.0]).fit(train, None, 5).head
    without = LogisticProbe([1.0]).fit(train._replace(target=train.target // 2), None, 3).head
    probability = head(train.embedding).softmax(1)
    torch.testing.assert_close(probability[:, ::2], without(train.embedding).softmax(1))
    assert probability[:, 1::2].max() == 0
    assert head(train.embedding).isfinite().all()


def test_constant_dimensions_do_no_harm(clusters):
    train = clusters(3)
    constant = torch.cat([train.embedding, torch.full((len(train.embedding), 1), 0.1).double()], 1)
    ours = LogisticProbe([1.0]).fit(Embedded(constant, train.target), None, 3).head(constant)
    torch.testing.assert_close(ours, LogisticProbe([1.0]).fit(train, None, 3).head(train.embedding))


def test_says_when_it_was_not_done(clusters):
    with pytest.warns(UserWarning, match=r"not done at c=100 after max_steps=2; raise it"):
        LogisticProbe([100.0], max_steps=2).fit(clusters(3), None, 3)
