import math

import torch
from torch.nn.functional import normalize

from lightning_transfer.fewshot import BDCSPN, PrototypeRule
from lightning_transfer.fewshot.bd_cspn import rectified


def test_by_hand():
    support, labels = torch.eye(2).unsqueeze(0), torch.eye(2).unsqueeze(0)
    query = torch.tensor([[[1.0, 0.0], [0.6, 0.8]]])  # their mean is (0.8, 0.4), the support's (0.5, 0.5)
    ways, moved = rectified(support, labels, query, scale=1.0)
    torch.testing.assert_close(moved, torch.tensor([[[0.7, 0.1], [0.3, 0.9]]]))
    near = 0.7 / math.hypot(0.7, 0.1), 0.9 / math.hypot(0.3, 0.9)
    first, second = (math.exp(cosine) for cosine in near)
    expected = [[math.e + 0.7 * first, 0.1 * first], [0.3 * second, math.e + 0.9 * second]]
    torch.testing.assert_close(ways[0], torch.tensor(expected) / (math.e + torch.tensor([[first], [second]])))


def test_equals_a_slow_loop(task):
    of, scale = task(noise=2.0), 5.0
    logits = BDCSPN(scale)(*of.parts())
    for e in range(3):
        support, query = normalize(of.support[e], dim=1), normalize(of.query[e], dim=1)
        query = query + support.mean(dim=0) - query.mean(dim=0)
        old = [support[of.target[e] == k].mean(dim=0) for k in range(4)]
        total, weight = [0.0] * 4, [0.0] * 4
        told = [max(range(4), key=lambda k, q=q: torch.cosine_similarity(q, old[k], dim=0)) for q in query]
        for x, k in [*zip(support, of.target[e].tolist(), strict=True), *zip(query, told, strict=True)]:
            w = torch.exp(scale * torch.cosine_similarity(x, old[k], dim=0))
            total[k], weight[k] = total[k] + w * x, weight[k] + w
        new = torch.stack([t / w for t, w in zip(total, weight, strict=True)])
        expected = scale * normalize(query, dim=1) @ normalize(new, dim=1).T
        torch.testing.assert_close(logits[e], expected, atol=1e-4, rtol=1e-4)


def test_undoes_a_shift_of_all_queries(task):
    of = task(episodes=40, shots=1, noise=0.6)
    shifted = of.query + 4 * torch.randn(40, 1, 16)
    alone = PrototypeRule("cosine")(of.support, of.target, shifted)
    together = BDCSPN(transform="UN")(of.support, of.target, shifted)
    right = [(logits.argmax(dim=-1) == of.query_target).float().mean() for logits in (alone, together)]
    assert right[0] < 0.6
    assert right[1] > right[0] + 0.2
