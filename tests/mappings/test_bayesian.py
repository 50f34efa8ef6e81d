import pytest
import torch
from torch.nn.functional import softmax

from lightning_transfer.mappings import BayesianMapping
from lightning_transfer.mappings.bayesian import weights


def slow(counts, smoothing):
    """By the definition, entry by entry."""
    share = [[float(n) / (sum(row) + smoothing) for n in row] for row in counts.tolist()]
    columns = [sum(column) for column in zip(*share, strict=True)]
    return torch.tensor([[n / column for n, column in zip(row, columns, strict=True)] for row in share])


def test_equals_its_definition(built):
    logits, target = torch.randn(200, 6), torch.randint(3, (200,))
    mapping = built(BayesianMapping())
    for part in range(4):
        mapping.observe(logits[part::4], target[part::4])
    mapping.refit()
    counts = torch.zeros(6, 3)
    for source, k in zip(logits.argmax(1), target, strict=True):
        counts[source, k] += 1
    torch.testing.assert_close(mapping.weight, slow(counts, 1))
    torch.testing.assert_close(mapping.weight.sum(0), torch.ones(3))
    torch.testing.assert_close(mapping(logits), logits @ mapping.weight)


@pytest.mark.parametrize(("top_k", "number"), [(2, 2), (0.7, 2), (1, 1), (0.1, 1), (50, 6)])
def test_sums_the_likeliest_probabilities(built, top_k, number):
    logits, target = torch.randn(80, 6), torch.randint(3, (80,))
    mapping = built(BayesianMapping(top_k))
    mapping.observe(logits, target)
    mapping.refit()
    sums = torch.zeros(6, 3)
    for row, k in zip(softmax(logits, 1), target, strict=True):
        for source in row.argsort(descending=True)[:number]:
            sums[source, k] += row[source]
    torch.testing.assert_close(mapping.weight, slow(sums, 0))


def test_sure_answers_without_smoothing_give_a_mapping_one_to_one(built):
    mapping = built(BayesianMapping(smoothing=0))
    mapping.observe(torch.eye(6)[[4, 4, 0, 2]], torch.tensor([0, 0, 1, 2]))
    mapping.refit()
    logits = torch.randn(5, 6)
    assert torch.equal(mapping(logits), logits[:, [4, 0, 2]])


def test_is_counted_anew_each_time(built):
    mapping = built(BayesianMapping(smoothing=0))
    assert mapping.needs_data()
    for sources in ([4, 0, 2], [1, 5, 3]):
        mapping.observe(torch.eye(6)[sources], torch.tensor([0, 1, 2]))
        mapping.refit()
        assert mapping.weight.argmax(0).tolist() == sources
        assert not mapping.needs_data()


def test_a_class_without_images_weighs_all_sources_alike():
    found = weights(torch.tensor([[2, 0], [6, 0], [0, 0]]), 1)
    assert found[:, 1].tolist() == pytest.approx([1 / 3] * 3)
    assert found[:, 0].tolist() == pytest.approx([(2 / 3) / (2 / 3 + 6 / 7), (6 / 7) / (2 / 3 + 6 / 7), 0])


def test_more_classes_than_sources(built):
    mapping = built(BayesianMapping(), 2, 5)
    mapping.observe(torch.randn(40, 2), torch.arange(40) % 5)
    mapping.refit()
    assert mapping(torch.randn(3, 2)).shape == (3, 5)


def test_half_precision(built):
    mapping = built(BayesianMapping(3))
    mapping.observe(torch.randn(40, 6).bfloat16(), torch.arange(40) % 3)
    mapping.refit()
    assert mapping(torch.randn(2, 6).bfloat16()).dtype == torch.bfloat16


@pytest.mark.parametrize("top_k", [0, -1, 2.5])
def test_values_out_of_range_get_a_sentence(top_k):
    with pytest.raises(ValueError, match=f"top_k={top_k} must be a number of sources"):
        BayesianMapping(top_k)
    with pytest.raises(ValueError, match="smoothing=-1"):
        BayesianMapping(smoothing=-1)
