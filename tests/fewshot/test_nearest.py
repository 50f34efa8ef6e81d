from collections import Counter

import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier

from lightning_transfer.fewshot import NearestNeighbour


def test_of_as_many_votes_the_nearest_wins_and_a_majority_always():
    support = torch.tensor([[1.0], [2.0], [2.5], [9.0]])
    query = torch.tensor([[0.0]])

    def told(k, target):
        rule = NearestNeighbour(k, "squared_euclid")
        return int(rule(support, torch.tensor(target), query).argmax())

    assert told(1, [0, 1, 1, 0]) == 0
    assert told(2, [1, 0, 1, 0]) == 1
    assert told(3, [0, 1, 1, 0]) == 1
    assert told(4, [0, 1, 1, 0]) == 0


@pytest.mark.parametrize("k", [1, 3, 5, 12])
@pytest.mark.parametrize("distance", ["cosine", "squared_euclid"])
def test_equals_scikit_learn_where_there_is_a_majority(task, k, distance):
    of = task(episodes=4, noise=2.0)
    told = NearestNeighbour(k, distance)(*of.parts()).argmax(dim=-1)
    compared = 0
    for e, (support, target, query) in enumerate(of.each()):
        metric = "cosine" if distance == "cosine" else "euclidean"
        model = KNeighborsClassifier(k, metric=metric, algorithm="brute").fit(support, target)
        votes = model.predict_proba(query)
        for q, row in enumerate(votes):
            if Counter(row)[max(row)] == 1:
                assert told[e, q] == row.argmax()
                compared += 1
    assert compared > 20 or k == 12  # all votes are even then


def test_logits_are_logarithms_of_shares(task):
    of = task()
    torch.testing.assert_close(NearestNeighbour(5)(*of.parts()).exp().sum(dim=-1), torch.ones(3, 20))


def test_refuses_more_neighbours_than_examples(task):
    with pytest.raises(ValueError, match="k=13 of NearestNeighbour is more than the 12 images of the support"):
        NearestNeighbour(13)(*task().parts())
