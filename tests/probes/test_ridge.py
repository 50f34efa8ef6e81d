import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from lightning_transfer.probes import KnnProbe, RidgeProbe

SHAPES = [(90, 7), (20, 60)]  # primal, dual


@pytest.mark.parametrize(("count", "width"), SHAPES)
@pytest.mark.parametrize("standardise", [False, True])
@pytest.mark.parametrize("strength", [0.1, 30.0])
def test_equals_scikit_learn(clusters, count, width, standardise, strength):
    train, val = clusters(4, count, width), clusters(4, 10, width, seed=1)
    head = RidgeProbe([strength], standardise).fit(train, None, 4).head
    theirs = make_pipeline(StandardScaler(with_std=standardise), RidgeClassifier(alpha=strength))
    theirs.fit(train.embedding.numpy(), train.target.numpy())
    ours = head(val.embedding).detach().numpy()
    np.testing.assert_allclose(ours, theirs.decision_function(val.embedding.numpy()), atol=1e-8)


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_satisfies_the_normal_equations(clusters, count, width):
    train = clusters(3, count, width)
    head = RidgeProbe([2.0], standardise=False).fit(train, None, 3).head
    x = train.embedding - train.embedding.mean(0)
    y = 2 * torch.nn.functional.one_hot(train.target, 3).double() - 1
    left = (x.T @ x + 2.0 * torch.eye(width)) @ head.weight.T
    torch.testing.assert_close(left, x.T @ (y - y.mean(0)))


def test_several_labels(clusters):
    train = clusters(3, several=True)
    head = RidgeProbe([2.0], standardise=False).fit(train, None, 3).head
    theirs = Ridge(alpha=2.0).fit(train.embedding.numpy(), 2 * train.target.numpy().astype(float) - 1)
    np.testing.assert_allclose(
        head(train.embedding).detach().numpy(), theirs.predict(train.embedding.numpy()), atol=1e-8
    )


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_learns_numbers_as_they_are(clusters, count, width):
    train, val = (clusters(3, count, width, seed=seed) for seed in range(2))
    generator = torch.Generator().manual_seed(0)
    slope = torch.randn(width, 2, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 50.0])
    train, val = (
        part._replace(target=(part.embedding @ slope + 2000).float(), task="regression") for part in (train, val)
    )
    head = RidgeProbe([2.0]).fit(train, None, 2).head
    theirs = make_pipeline(StandardScaler(), Ridge(alpha=2.0)).fit(train.embedding.numpy(), train.target.numpy())
    np.testing.assert_allclose(head(val.embedding).detach().numpy(), theirs.predict(val.embedding.numpy()), rtol=1e-5)
    assert RidgeProbe([1e-3, 1e5]).fit(train, val, 2).chosen == {"strength": 1e-3}
    with pytest.raises(ValueError, match="R² needs two validation images, but there is 1"):
        RidgeProbe().fit(train, val._replace(embedding=val.embedding[:1], target=val.target[:1]), 2)
    with pytest.raises(ValueError, match="this probe learns classification and multi_label, not regression"):
        KnnProbe([5]).fit(train, None, 2)


@pytest.mark.parametrize(("count", "width"), SHAPES)
def test_validation_chooses_as_if_each_were_fitted(clusters, count, width, monkeypatch):
    train, val = clusters(3, count, width, noise=3.0), clusters(3, 200, width, noise=3.0, seed=1)
    grid = [1e-3, 1.0, 100.0, 1e4]
    accuracy = {
        s: (RidgeProbe([s]).fit(train, None, 3).head(val.embedding).argmax(1) == val.target).float().mean().item()
        for s in grid
    }
    decomposed, eigh = [], torch.linalg.eigh
    monkeypatch.setattr(torch.linalg, "eigh", lambda matrix: (decomposed.append(matrix.shape), eigh(matrix))[1])
    fitted = RidgeProbe(grid).fit(train, val, 3)
    assert decomposed == [(min(count, width),) * 2]
    assert len(set(accuracy.values())) > 1
    assert accuracy[fitted.chosen["strength"]] == max(accuracy.values())
    alone = RidgeProbe([fitted.chosen["strength"]]).fit(train, None, 3).head
    torch.testing.assert_close(fitted.head.weight, alone.weight)
