import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy
from torch.optim import SGD
from torch.optim.lr_scheduler import LambdaLR

from lightning_transfer.heads import LinearHead
from lightning_transfer.probes import SgdProbe

OPTIONS = {"epochs": 3, "batch_size": 20, "seed": 3}


@pytest.mark.parametrize("several", [False, True])
def test_many_at_once_equal_one_at_a_time(clusters, several):
    train = clusters(3, several=several)
    together = SgdProbe((0.01, 0.3), (0.0, 0.1), **OPTIONS)
    weights, biases = together.train(train.embedding, train.target, 3)
    for i, (rate, decay) in enumerate(together.pairs):
        weight, bias = SgdProbe((rate,), (decay,), **OPTIONS).train(train.embedding, train.target, 3)
        torch.testing.assert_close(weights[i], weight[0], rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(biases[i], bias[0], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("several", [False, True])
def test_equals_torchs_sgd(clusters, several):
    train = clusters(3, several=several)
    probe = SgdProbe((0.05,), (0.1,), **OPTIONS)
    weight, bias = probe.train(train.embedding, train.target, 3)
    head = LinearHead(7, 3).double()
    optimizer = SGD([{"params": [head.weight], "weight_decay": 0.1}, {"params": [head.bias]}], lr=0.05, momentum=0.9)
    steps = 3 * math.ceil(90 / 20)
    schedule = LambdaLR(optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * step / steps)))
    generator = torch.Generator().manual_seed(3)
    for _ in range(3):
        for rows in torch.randperm(90, generator=generator).split(20):
            logits, target = head(train.embedding[rows]), train.target[rows]
            if several:
                loss = 3 * binary_cross_entropy_with_logits(logits, target.double())
            else:
                loss = cross_entropy(logits, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    torch.testing.assert_close(weight[0], head.weight.detach())
    torch.testing.assert_close(bias[0], head.bias.detach())


def test_a_head_that_diverges_is_not_chosen(clusters):
    train, val = clusters(3), clusters(3, seed=1)
    probe = SgdProbe((0.03,), (0.0, 1e40), **OPTIONS)
    assert not probe.train(train.embedding, train.target, 3)[0][0].isfinite().any()
    fitted = probe.fit(train, val, 3)
    assert fitted.chosen == {"learning_rate": 0.03, "weight_decay": 0.0}
    assert (fitted.head(val.embedding).argmax(1) == val.target).float().mean() > 0.5


@pytest.mark.parametrize("standardise", [False, True])
def test_head_takes_raw_embeddings(clusters, standardise):
    train = clusters(3)
    probe = SgdProbe((0.001,), (0.0,), standardise=standardise, **OPTIONS)
    head = probe.fit(train, None, 3).head
    x = train.embedding
    seen = (x - x.mean(0)) / x.std(0, correction=0) if standardise else x
    weight, bias = probe.train(seen, train.target, 3)
    torch.testing.assert_close(head(x).detach(), seen @ weight[0].T + bias[0])


def test_complaints(clusters):
    with pytest.raises(
        ValueError, match=r"no validation images to choose one of 2; .*: learning_rates=\[0.1\] weight_decays=\[0\]"
    ):
        SgdProbe((0.1,), (1.0, 0.0)).fit(clusters(3), None, 3)
    with pytest.raises(ValueError, match=r"weight_decays=\[-1\]"):
        SgdProbe(weight_decays=(-1,))
    with pytest.raises(ValueError, match=r"momentum=1.0 in \[0, 1\)"):
        SgdProbe(momentum=1.0)
