import pytest
import torch

from lightning_transfer.mappings import FirstMapping, FrequencyMapping, LinearMapping, RandomMapping


@pytest.mark.parametrize("start", [FirstMapping, RandomMapping])
def test_begins_with_the_answers_of_its_start(built, start):
    logits = torch.randn(5, 6)
    mapping = built(LinearMapping(start()))
    torch.testing.assert_close(mapping(logits), built(start())(logits))
    assert {name for name, _ in mapping.named_parameters()} == {"linear.weight", "linear.bias"}
    mapping(logits).square().sum().backward()
    assert all(bool(p.grad.any()) for p in mapping.parameters())


def test_a_start_that_counts_sets_the_weights_once(built):
    mapping = built(LinearMapping(FrequencyMapping(sources_per_class=2)))
    logits = torch.eye(6)[[5, 3, 1, 0, 2, 4]]
    assert mapping.needs_data()
    mapping.observe(logits, torch.arange(6) // 2)
    mapping.refit()
    assert not mapping.needs_data()
    expected = torch.zeros(3, 6)
    for k, sources in enumerate([[5, 3], [0, 1], [2, 4]]):
        expected[k, sources] = 0.5
    assert torch.equal(mapping.linear.weight, expected)
    with torch.no_grad():
        mapping.linear.weight += 1  # as training does
    mapping.observe(logits, torch.arange(6) % 3)
    mapping.refit()
    assert torch.equal(mapping.linear.weight, expected + 1)


def test_without_a_start_it_is_a_layer(built):
    mapping, logits = built(LinearMapping(), 2, 5), torch.randn(3, 2)
    assert not mapping.needs_data()
    torch.testing.assert_close(mapping(logits), logits @ mapping.linear.weight.T + mapping.linear.bias)
