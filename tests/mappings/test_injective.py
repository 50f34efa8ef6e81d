import pytest
import torch
from torch.nn.functional import cross_entropy

from lightning_transfer.mappings import FirstMapping, FrequencyMapping, IterativeMapping, RandomMapping, SemanticMapping
from lightning_transfer.text_encoders import CharacterNGrams

NAMES = {"source_names": list("abcdef"), "class_names": list("xyz")}


def answers(*pairs, num_source=6):
    """Logits and targets by (source, target)."""
    sources, targets = torch.tensor(pairs).T
    return torch.eye(num_source)[sources], targets


def test_first(built):
    logits = torch.randn(5, 6)
    assert torch.equal(built(FirstMapping())(logits), logits[:, :3])


def test_random_depends_on_its_seed_alone(built):
    first = built(RandomMapping(3)).sources
    torch.manual_seed(1)
    assert torch.equal(built(RandomMapping(3)).sources, first)
    assert len(first.unique()) == 3
    assert any(not torch.equal(built(RandomMapping(seed)).sources, first) for seed in range(3))
    assert built(RandomMapping(), 9, 9).sources.flatten().sort().values.tolist() == list(range(9))


def test_frequency_counts_once(built):
    mapping = built(FrequencyMapping())
    assert mapping.needs_data()
    mapping.observe(*answers((5, 0), (5, 0), (5, 1), (2, 1), (4, 2)))
    mapping.observe(*answers((5, 0), (2, 1)))
    mapping.refit()
    assert mapping.sources.flatten().tolist() == [5, 2, 4]
    assert not mapping.needs_data()
    mapping.observe(*answers((0, 0), (1, 1), (3, 2)))
    mapping.refit()
    assert mapping.sources.flatten().tolist() == [5, 2, 4]
    logits = torch.randn(2, 6)
    assert torch.equal(mapping(logits), logits[:, [5, 2, 4]])


def test_iterative_is_frequency_counted_anew(built):
    frequency, iterative = built(FrequencyMapping()), built(IterativeMapping())
    for mapping in (frequency, iterative):
        mapping.observe(*answers((5, 0), (5, 1), (2, 1), (4, 2)))
        mapping.refit()
    assert torch.equal(frequency.sources, iterative.sources)
    for _ in range(2):  # the same answers again change nothing, whatever was counted before
        iterative.observe(*answers((0, 0), (1, 1), (3, 2)))
        iterative.refit()
        assert iterative.sources.flatten().tolist() == [0, 1, 3]
    iterative.refit()  # without answers
    assert iterative.sources.flatten().tolist() == [0, 1, 3]


def test_what_was_forgotten_does_not_count(built):
    mapping = built(IterativeMapping())
    mapping.observe(*answers((5, 0), (5, 0)))
    mapping.forget()
    mapping.observe(*answers((3, 0)))
    mapping.refit()
    assert mapping.sources[0].item() == 3


def test_a_class_without_images_gets_the_lowest_source_left(built):
    mapping = built(FrequencyMapping())
    mapping.observe(*answers((0, 2), (4, 1)))
    mapping.refit()
    assert mapping.sources.flatten().tolist() == [1, 4, 0]


def test_images_of_unknown_class_count_nothing(built):
    mapping = built(FrequencyMapping())
    mapping.observe(*answers((5, -1), (5, -1), (3, 2)))
    mapping.refit()
    assert mapping.sources.flatten().tolist() == [0, 1, 3]


def test_several_sources_are_averaged(built):
    mapping = built(FrequencyMapping(sources_per_class=2))
    mapping.observe(*answers((5, 0), (5, 0), (3, 0), (1, 1), (0, 1), (2, 2), (4, 2)))
    mapping.refit()
    assert mapping.sources.tolist() == [[5, 3], [0, 1], [2, 4]]
    logits = torch.randn(4, 6)
    expected = torch.stack([logits[:, [5, 3]].mean(1), logits[:, [0, 1]].mean(1), logits[:, [2, 4]].mean(1)], 1)
    torch.testing.assert_close(mapping(logits), expected)


def test_semantic_finds_names_spelt_alike(built):
    names = {
        "source_names": [
            "teapot",
            "sea lion",
            "great white shark, Carcharodon carcharias",
            "pot, flowerpot",
            "lion, Panthera leo",
        ],
        "class_names": ["lion", "sea_lion", "shark"],
    }
    mapping = built(SemanticMapping(CharacterNGrams()), 5, 3, **names)
    assert mapping.sources.flatten().tolist() == [4, 1, 2]
    assert mapping.similarity(names["source_names"], names["class_names"])[4, 0] == pytest.approx(
        1
    )  # a part of the name


def test_order_decides_who_gets_the_contended_source(built):
    names = {"source_names": ["lions", "tapir", "wolf"], "class_names": ["lion cub", "lions"]}
    assert built(SemanticMapping(CharacterNGrams()), 3, 2, **names).sources[:, 0].tolist()[1] == 0
    turns = built(SemanticMapping(CharacterNGrams(), order="round_robin"), 3, 2, **names)
    assert turns.sources[:, 0].tolist()[0] == 0


@pytest.mark.parametrize("missing", ["source_names", "class_names"])
def test_semantic_needs_names(built, missing):
    with pytest.raises(ValueError, match="SemanticMapping compares names, but the (source's|target) classes have none"):
        built(SemanticMapping(CharacterNGrams()), **NAMES | {missing: None})


@pytest.mark.parametrize(
    "mapping",
    [FirstMapping(), RandomMapping(), FrequencyMapping(), IterativeMapping(), SemanticMapping(CharacterNGrams())],
)
def test_too_few_sources_get_a_sentence(built, mapping):
    message = f"{type(mapping).__name__} gives each class 1 .* for num_classes=3 the source has only 2; BayesianMapping"
    with pytest.raises(ValueError, match=message):
        built(mapping, 2, 3, ["a", "b"], list("xyz"))


def test_too_few_sources_for_several_a_class(built):
    with pytest.raises(ValueError, match="gives each class 3 .* the source has only 6"):
        built(FrequencyMapping(sources_per_class=3))


@pytest.mark.parametrize("target", [torch.zeros(2, 3), torch.tensor([[0.3, 0.7, 0.0]] * 2)])
def test_several_labels_get_a_sentence(built, target):
    with pytest.raises(ValueError, match=r"takes one class an image, but the targets are \(2, 3\) torch.float32"):
        built(FrequencyMapping()).observe(torch.randn(2, 6), target)


def test_values_out_of_range_get_a_sentence():
    with pytest.raises(ValueError, match="sources_per_class=0"):
        FrequencyMapping(0)
    with pytest.raises(ValueError, match="order='best'"):
        SemanticMapping(order="best")


def test_gradient_reaches_the_bound_sources_alone(built):
    mapping, logits = built(RandomMapping()), torch.randn(4, 6, requires_grad=True)
    cross_entropy(mapping(logits), torch.tensor([0, 1, 2, 0])).backward()
    assert set(logits.grad.abs().sum(0).nonzero().flatten().tolist()) == set(mapping.sources.flatten().tolist())
