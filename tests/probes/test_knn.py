import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier
from torch.nn.functional import cosine_similarity

from lightning_transfer.contracts import Embedded
from lightning_transfer.probes import KnnProbe
from lightning_transfer.probes.knn import nearest


def test_equals_the_vote_counted_one_by_one(clusters):
    train, query = clusters(3, 40), clusters(3, 9, seed=1).embedding
    share = KnnProbe([5], temperature=0.2).fit(train, None, 3).head(query).softmax(1)
    for row, of_classes in zip(query, share, strict=True):
        similarity = cosine_similarity(row[None], train.embedding)
        vote = torch.zeros(3, dtype=torch.float64)
        for i in similarity.argsort(descending=True)[:5]:
            vote[train.target[i]] += (similarity[i] / 0.2).exp()
        torch.testing.assert_close(of_classes, vote / vote.sum(), rtol=1e-4, atol=1e-6)


def test_equals_scikit_learn_where_all_votes_weigh_alike(clusters):
    train, query = clusters(4, 60), clusters(4, 50, seed=1).embedding
    ours = KnnProbe([7], temperature=1e6).fit(train, None, 4).head(query).softmax(1)
    theirs = KNeighborsClassifier(7, metric="cosine").fit(train.embedding.numpy(), train.target.numpy())
    torch.testing.assert_close(ours, torch.from_numpy(theirs.predict_proba(query.numpy())), rtol=1e-4, atol=1e-5)


def test_with_several_labels_neighbours_average(clusters):
    train, query = clusters(3, 40, several=True), clusters(3, 9, seed=1).embedding
    share = KnnProbe([4], temperature=1e6).fit(train, None, 3).head(query).sigmoid()
    similarity = cosine_similarity(query[:, None], train.embedding[None], dim=-1)
    mean = train.target[similarity.topk(4).indices].double().mean(1)
    torch.testing.assert_close(share, mean, rtol=1e-4, atol=1e-5)


def test_search_in_parts_finds_what_a_search_at_once_does():
    query, bank = torch.randn(5, 8), torch.randn(100, 8)
    values, indices = (query @ bank.T).topk(13)
    for rows in (7, 50, 1000):
        found = nearest(query, bank, 13, rows)
        torch.testing.assert_close(found[0], values)
        assert torch.equal(found[1], indices)


def test_validation_chooses_k(clusters):
    train, val = clusters(3, 60, noise=3.0), clusters(3, 200, noise=3.0, seed=1)
    grid = [1, 3, 20, 500]
    fitted = KnnProbe(grid).fit(train, val, 3)
    accuracy = {
        k: (KnnProbe([k]).fit(train, None, 3).head(val.embedding).argmax(1) == val.target).float().mean().item()
        for k in grid[:3]
    }
    assert len(set(accuracy.values())) > 1
    assert accuracy[fitted.chosen["k"]] == max(accuracy.values())


def test_complaints(clusters):
    with pytest.raises(ValueError, match=r"k=\[200\] neighbours are more than the 90 training images"):
        KnnProbe([200]).fit(clusters(3), None, 3)
    with pytest.raises(ValueError, match="temperature=0 must be positive"):
        KnnProbe(temperature=0)
    empty = Embedded(torch.zeros(0, 7), torch.zeros(0, dtype=torch.long))
    with pytest.raises(ValueError, match=r"no validation images to choose one of 5; .*: k=\[20\]"):
        KnnProbe().fit(clusters(3, 150), empty, 3)
