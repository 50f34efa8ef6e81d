import torch
from torch.nn.functional import normalize

from lightning_transfer.fewshot import PTMAP, PrototypeRule


def test_each_query_is_given_once_and_each_way_as_many(task):
    of = task(noise=2.0)
    share = PTMAP()(*of.parts()).exp()
    torch.testing.assert_close(share.sum(dim=2), torch.ones(3, 20), atol=1e-4, rtol=0)
    torch.testing.assert_close(share.sum(dim=1), torch.full((3, 4), 5.0), atol=1e-4, rtol=0)


def test_the_plan_of_two_queries_and_ways_by_hand():
    # a plan exp(-s d) of row sums 1 and column sums 1 is p on the diagonal: p² / (1 - p)² = product of ratios
    ways, query = torch.tensor([[[0.0], [1.0]]]), torch.tensor([[[0.2], [0.7]]])
    cost = torch.tensor([[0.04, 0.64], [0.49, 0.09]])
    odds = torch.exp(-2 * (cost[0, 0] + cost[1, 1] - cost[0, 1] - cost[1, 0]) / 2)
    right = odds / (1 + odds)
    plan = PTMAP(sharpness=2.0)._plan(query, ways).exp()
    torch.testing.assert_close(plan[0], torch.tensor([[right, 1 - right], [1 - right, right]]))


def test_balance_helps_where_it_holds(task):
    of = task(episodes=100, ways=5, shots=1, queries=10, noise=1.0)
    support, query = of.support.exp(), of.query.exp()  # nothing negative

    def right(logits):
        return (logits.argmax(dim=-1) == of.query_target).float().mean()

    plain = PrototypeRule()(
        *(normalize(x.sqrt(), dim=-1) if x.is_floating_point() else x for x in (support, of.target, query))
    )
    assert right(PTMAP()(support, of.target, query)) > right(plain) + 0.03
