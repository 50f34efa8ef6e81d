import pytest
import torch
from torch.nn.functional import normalize, one_hot

from lightning_transfer.adapters import TipAdapter
from lightning_transfer.adapters.zero_shot import zero_shot_weights
from lightning_transfer.backbones import ImageTextBackbone
from lightning_transfer.fewshot import TipAdapterRule
from lightning_transfer.parts import describe

WORDS = ["cat", "sea lion", "traffic_light", "bee", "tree", "hat"]
CLASSES = torch.tensor([[5, 0, 3, 2], [1, 4, 2, 0], [3, 5, 1, 4]])


@pytest.fixture
def rule(image_text):
    made = TipAdapterRule(image_text(bias=-1.0), ["a photo of a {}.", "the {}"], alpha=2.0, beta=3.0)
    made.prepare(torch.empty(0, 16), WORDS)
    return made


def test_equals_a_slow_loop(rule, task):
    of = task()
    logits = rule(*of.parts(), CLASSES)
    words = zero_shot_weights(rule.model, WORDS, ["a photo of a {}.", "the {}"])
    for e in range(3):
        support, query = normalize(of.support[e], dim=1), normalize(of.query[e], dim=1)
        for q in range(20):
            expected = 10 * words[CLASSES[e]] @ query[q] - 1
            for key, way in zip(support, of.target[e], strict=True):
                expected = expected + 2 * torch.exp(-3 * (1 - query[q] @ key)) * one_hot(way, 4)
            torch.testing.assert_close(logits[e, q], expected, atol=1e-4, rtol=1e-4)


def test_is_the_adapter_with_the_support_as_its_keys(rule, task):
    of = task(episodes=1)
    adapter = TipAdapter(shots=3, alpha=2.0, beta=3.0)
    adapter.build(rule.model, [WORDS[k] for k in CLASSES[0]], ["a photo of a {}.", "the {}"])
    adapter.keys.copy_(normalize(of.support[0][of.target[0].argsort(stable=True)], dim=1))
    expected = adapter.eval()(normalize(of.query[0], dim=1), rule.model)
    torch.testing.assert_close(rule(*(part[0] for part in of.parts()), CLASSES[0]), expected)


def test_without_alpha_the_texts_answer_alone(rule, image_text, task):
    of, texts = task(), TipAdapterRule(rule.model, ["a photo of a {}.", "the {}"], alpha=0)
    texts.prepare(torch.empty(0, 16), WORDS)
    said = texts(*of.parts(), CLASSES)
    torch.testing.assert_close(texts(of.support.flip(1), of.target, of.query, CLASSES), said)
    assert (rule(*of.parts(), CLASSES) - said).abs().max() > 0.1


def test_episodes_at_once_are_each_by_itself_twice_as_once(rule, task):
    of = task()
    logits = rule(*of.parts(), CLASSES)
    assert torch.equal(rule(*of.parts(), CLASSES), logits)
    each = torch.stack([rule(*one, classes) for one, classes in zip(of.each(), CLASSES, strict=True)])
    torch.testing.assert_close(logits, each)


def test_permuted_ways_permute_the_logits(rule, task):
    of, order = task(), torch.tensor([2, 0, 3, 1])
    classes = torch.empty_like(CLASSES)
    classes[:, order] = CLASSES
    turned = rule(of.support, order[of.target], of.query, classes)
    torch.testing.assert_close(turned[..., order], rule(*of.parts(), CLASSES))


def test_answers_images_of_its_own_model_by_a_checkpoint(pairs):
    backbone, rule = ImageTextBackbone(pairs), TipAdapterRule(pairs)
    rule.prepare(torch.empty(0, 16), WORDS)
    backbone.eval()
    with torch.no_grad():
        vectors = backbone(torch.rand(6, 3, 32, 32)).embedding
    logits = rule(vectors[:2], torch.arange(2), vectors[2:], torch.tensor([4, 1]))
    assert logits.shape == (4, 2)
    recorded = describe(rule)["init_args"]
    assert recorded["image_text"]["class_path"].endswith("ImageTextCheckpoint")
    assert len(recorded["image_text"]["init_args"]["sha256"]) == 64


def test_says_what_it_misses(rule, image_text, task):
    of = task()
    with pytest.raises(ValueError, match=r"classes \(none\) must say for each of 4 ways which class it is"):
        rule(*of.parts())
    with pytest.raises(ValueError, match=r"classes \(3, 3\) must say for each of 4 ways"):
        rule(*of.parts(), CLASSES[:, 1:])
    with pytest.raises(ValueError, match="classes must number the 6 names"):
        rule(*of.parts(), CLASSES + 1)
    with pytest.raises(
        ValueError,
        match="the texts' vectors have 16 entries and the embeddings 8; take as backbone an ImageTextBackbone",
    ):
        rule(of.support[..., :8], of.target, of.query[..., :8], CLASSES)
    with pytest.raises(ValueError, match="TipAdapterRule was not given the names of the classes; call prepare"):
        TipAdapterRule(image_text())(*of.parts(), CLASSES)
    with pytest.raises(ValueError, match="words: 'cat' names two classes"):
        rule.prepare(torch.empty(0, 16), ["cat", "cat"])
    with pytest.raises(ValueError, match="alpha=-1 of TipAdapterRule must be at least 0"):
        TipAdapterRule(image_text(), alpha=-1)
    with pytest.raises(ValueError, match="beta=0 of TipAdapterRule must be above 0"):
        TipAdapterRule(image_text(), beta=0)
    with pytest.raises(ValueError, match="image_text='clip' must be a checkpoint"):
        TipAdapterRule("clip")
