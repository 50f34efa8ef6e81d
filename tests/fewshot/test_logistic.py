import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import normalize, one_hot

from lightning_transfer.fewshot import LogisticRule


@pytest.mark.parametrize("ways", [2, 3, 5])
@pytest.mark.parametrize(("c", "steps"), [(0.1, 100), (1.0, 100), (10.0, 100)])
def test_equals_scikit_learn(task, ways, c, steps):
    of = task(ways=ways, shots=5)
    kept = torch.arange(ways * 5 - 2)  # ways of different size
    support, target = of.support[:, kept], of.target[:, kept]
    probability = LogisticRule(c, steps)(support, target, of.query).softmax(dim=-1)
    for e in range(3):
        model = LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
        model.fit(normalize(support[e], dim=-1).double().numpy(), target[e].numpy())
        expected = model.predict_proba(normalize(of.query[e], dim=-1).double().numpy())
        np.testing.assert_allclose(probability[e].numpy(), expected, atol=2e-4)


@pytest.mark.parametrize("width", [4, 100])
def test_embeddings_of_any_width_and_length_come_to_the_optimum(task, width):
    of = task(width=width, shots=5)
    support = of.support.double()
    logits = LogisticRule(steps=300, transform="UN")(support, of.target, support)
    # at the optimum W = c Σ (y − p) xᵀ, and the residuals of each way add up to nothing
    residual = one_hot(of.target) - logits.softmax(dim=-1)
    assert residual.sum(dim=1).abs().max() < 1e-5
    expected = support @ (support.mT @ residual)
    difference = logits - expected
    torch.testing.assert_close(
        difference, difference.mean(dim=1, keepdim=True).expand_as(difference), atol=1e-4, rtol=0
    )
