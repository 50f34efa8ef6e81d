import pytest
import torch
from torch.nn.functional import normalize

from lightning_transfer import TimmBackbone
from lightning_transfer.adapters import CoCoOp, CoOp, TipAdapter, ZeroShot
from lightning_transfer.adapters.tip_adapter import best_pair
from lightning_transfer.adapters.zero_shot import zero_shot_weights
from lightning_transfer.data import FakeData
from lightning_transfer.models import ImageTextModel, OpenClipModel
from lightning_transfer.text_towers import TransformerTower

WORDS = ["cat", "sea lion", "traffic_light", "bee"]
TEMPLATES = ["a photo of a {}.", "{} in a drawing", "the small {}"]


def vectors(number=5, width=16):
    return normalize(torch.randn(number, width), dim=1)


def built(adapter, model, templates=("a photo of a {}.",), words=WORDS):
    adapter.build(model, words, list(templates))
    return adapter.eval()


def test_zero_shot_weights_equal_a_slow_loop(image_text):
    model = image_text()
    expected = []
    for word in WORDS:
        mean = torch.zeros(16)
        for template in TEMPLATES:
            vector = model.encode_text([template.replace("{}", word.replace("_", " "))])[0]
            mean += vector / vector.norm() / len(TEMPLATES)
        expected.append(mean / mean.norm())
    weights = zero_shot_weights(model, WORDS, TEMPLATES)
    torch.testing.assert_close(weights, torch.stack(expected))
    mean = torch.stack([zero_shot_weights(model, WORDS, [t]) for t in TEMPLATES]).mean(0)
    torch.testing.assert_close(weights, normalize(mean, dim=1))
    torch.testing.assert_close(zero_shot_weights(model, WORDS, TEMPLATES[::-1]), weights)


@pytest.mark.parametrize("bias", [None, -3.0])
def test_zero_shot_logits_are_scaled_cosines(image_text, bias):
    model, image = image_text(bias=bias), vectors()
    adapter = built(ZeroShot(), model, TEMPLATES)
    torch.testing.assert_close(adapter(image, model), 10 * image @ adapter.weights.T + (bias or 0))


@pytest.mark.parametrize("make", [ZeroShot, lambda: CoOp("a photo of a"), lambda: TipAdapter(1)])
def test_permuted_words_permute_the_logits(image_text, make):
    model, image, order = image_text(), vectors(), [2, 0, 3, 1]
    straight = built(make(), model)(image, model)
    turned = built(make(), model, words=[WORDS[k] for k in order])(image, model)
    torch.testing.assert_close(turned, straight[:, order])


@pytest.mark.parametrize("class_specific", [False, True])
def test_coop_begun_with_words_is_zero_shot_with_that_template(image_text, class_specific):
    model, image = image_text(), vectors()
    adapter = built(CoOp("a photo of a", class_specific=class_specific), model)
    assert adapter.entries.shape == ((4, 4, 16) if class_specific else (4, 16))
    assert (adapter(image, model) - built(ZeroShot(), model)(image, model)).abs().max() < 1e-6


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("kind", ["bytes", "open_clip"])
def test_coop_on_the_towers_of_the_package(image_text, kind, position):
    if kind == "open_clip":
        pytest.importorskip("open_clip")
        vision = {"image_size": 32, "patch_size": 16, "width": 32, "head_width": 16, "layers": 1}
        text = {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2}
        model = OpenClipModel({"embed_dim": 16, "vision_cfg": vision, "text_cfg": text}).eval()
    else:
        tower = TransformerTower(width=16, depth=2, heads=2, context_length=64)
        model = ImageTextModel(TimmBackbone("test_resnet", pretrained=False), tower, 16).eval()
    template = {"end": "a photo of a {}.", "middle": "a photo {} of a.", "front": "{} a photo of a."}[position]
    image = vectors()
    adapter = built(CoOp("a photo of a", position), model)
    zero_shot = built(ZeroShot(), model, [template])
    assert (adapter(image, model) - zero_shot(image, model)).abs().max() < 1e-5
    assert built(CoOp(4, position), model)(image, model).shape == (5, 4)
    with pytest.raises(ValueError, match="context: 64 entries and the"):
        built(CoOp(64, position), model)


@pytest.mark.parametrize(
    ("position", "template"),
    [("end", "a photo of a {}."), ("middle", "a photo {} of a."), ("front", "{} a photo of a.")],
)
def test_names_stand_where_they_are_put(image_text, position, template):
    model, image = image_text(), vectors()
    adapter = built(CoOp("a photo of a", position), model)
    assert (adapter(image, model) - built(ZeroShot(), model, [template])(image, model)).abs().max() < 1e-6


def test_drawn_entries_are_small_and_reach_every_text(image_text):
    model = image_text()
    adapter = built(CoOp(16), model)
    assert adapter.entries.shape == (16, 16)
    assert 0.015 < adapter.entries.std() < 0.025
    assert set(adapter.state_dict()) == {"entries"}
    texts = adapter.texts(adapter.entries, model)
    (texts[2] @ torch.randn(16)).backward()
    assert (adapter.entries.grad.abs().sum(1) > 0).all()


def test_class_specific_entries_learn_from_their_class_alone(image_text):
    model = image_text()
    adapter = built(CoOp(3, class_specific=True), model)
    adapter(vectors(), model)[:, 1].sum().backward()
    assert [bool(grad.any()) for grad in adapter.entries.grad] == [False, True, False, False]


def test_without_gradients_coop_reads_its_texts_once_and_anew_when_its_entries_change(image_text, monkeypatch):
    model, image = image_text(), vectors()
    adapter = built(CoOp("a photo of a"), model)
    before = adapter(image, model).detach()
    reads = []
    encode = model.encode_tokens
    monkeypatch.setattr(model, "encode_tokens", lambda *args: reads.append(1) or encode(*args))
    with torch.no_grad():
        for _ in range(3):
            torch.testing.assert_close(adapter(image, model), before, rtol=0, atol=0)
        assert len(reads) == 1
        adapter.load_state_dict({"entries": adapter.entries + 1})
        assert not torch.equal(adapter(image, model), before)
    assert adapter(image, model).requires_grad


def test_cocoop_equals_coop_with_the_moved_entries(image_text):
    model, image = image_text(), vectors()
    adapter = built(CoCoOp("a photo of a"), model)
    assert [layer.out_features for layer in adapter.meta if hasattr(layer, "out_features")] == [1, 16]
    said = adapter(image, model)
    for i in range(len(image)):
        alone = built(CoOp("a photo of a"), model)
        alone.entries.data += adapter.meta(image[i])
        torch.testing.assert_close(alone(image[i : i + 1], model)[0], said[i])
    torch.nn.init.zeros_(adapter.meta[2].weight)
    torch.nn.init.zeros_(adapter.meta[2].bias)
    torch.testing.assert_close(adapter(image, model), built(ZeroShot(), model)(image, model))


@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 5.5), (2.5, 0.7)])
def test_tip_adapter_equals_its_published_formula(image_text, alpha, beta):
    model, image = image_text(), vectors(6)
    adapter = built(TipAdapter(3, alpha=alpha, beta=beta), model)
    adapter.keys.copy_(vectors(12))
    values = torch.eye(4).repeat_interleave(3, dim=0)
    affinity = image @ adapter.keys.T
    cache = ((-1) * (beta - beta * affinity)).exp() @ values
    expected = 10 * image @ adapter.weights.T + cache * alpha
    torch.testing.assert_close(adapter(image, model), expected)
    torch.testing.assert_close(adapter.train()(image, model), expected)


def test_alpha_zero_leaves_the_texts_alone(image_text):
    model, image = image_text(), vectors()
    adapter = built(TipAdapter(2, alpha=0.0), model)
    adapter.keys.copy_(vectors(8))
    assert torch.equal(adapter(image, model), built(ZeroShot(), model)(image, model))


def test_the_best_pair_is_that_of_a_slow_search():
    texts, near, target = torch.randn(40, 4), torch.rand(40, 4) * 2 - 1, torch.arange(40) % 4
    near[torch.arange(40), target] += 0.3

    def cached(beta):
        return torch.exp(-beta * (1 - near))

    alpha, beta = best_pair(texts, cached, target)

    def accuracy(alpha, beta):
        return ((texts + alpha * cached(beta)).argmax(1) == target).double().mean()

    assert accuracy(alpha, beta) == max(accuracy(0.15 * i, 0.1 + 0.0345 * j) for i in range(21) for j in range(201))
    assert accuracy(alpha, beta) > accuracy(0, 1)
    assert best_pair(texts, lambda beta: torch.zeros(40, 4), target) == (0.0, 0.1)  # nothing helps: the least of both
    unknown = torch.where(target == 0, -1, target)
    alone = best_pair(texts[target > 0], lambda beta: cached(beta)[target > 0], target[target > 0])
    assert best_pair(texts, cached, unknown) == alone


def test_keys_are_means_over_views_of_the_first_images_of_each_class(image_text, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    model, data = image_text(), FakeData(image_size=32, num_workers=0, images_per_class=6)
    data.prepare_data()
    data.setup("fit")
    adapter = built(TipAdapter(2, views=3), model)
    adapter.prepare(model, data)
    images, targets = data.train_set, data.train_set.source.targets.tolist()
    for k in range(4):
        chosen = [i for i, target in enumerate(targets) if target == k][:2]
        for place, i in enumerate(chosen):
            views = torch.stack([images[view * len(images) + i][0] for view in range(3)])
            assert not torch.equal(views[0], views[1])
            expected = normalize(model.encode_image(views).mean(0), dim=0)
            torch.testing.assert_close(adapter.keys[2 * k + place], expected)
    held = adapter.keys.clone()
    adapter.prepare(model, data)  # of a resumed training
    assert torch.equal(adapter.keys, held)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TipAdapter(0), "shots=0 of TipAdapter must be at least 1"),
        (lambda: TipAdapter(views=0), "views=0 of TipAdapter must be at least 1"),
        (lambda: TipAdapter(alpha=-1.0), "alpha=-1.0 of TipAdapter must not be negative"),
        (lambda: TipAdapter(beta=0.0), "beta=0.0 of TipAdapter must be positive"),
        (lambda: TipAdapter(alpha=0.0, train_keys=True), "alpha=0 of TipAdapter leaves the keys without a gradient"),
        (lambda: CoOp(0), "context=0 must be at least 1 entry"),
        (lambda: CoCoOp(""), "context='' must be at least 1 entry"),
        (lambda: CoOp(position="top"), "position='top' of the class names must be end, middle or front"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_context_that_is_too_long_is_told(image_text):
    with pytest.raises(ValueError, match="20 entries and the 5 tokens of 'sea lion' make 25, but the text tower reads"):
        built(CoOp(20), image_text())
    with pytest.raises(ValueError, match="has 29 tokens, more than context_length=24"):
        built(ZeroShot(), image_text(), ["a " * 25 + "{}"])


def test_missing_shots_are_told(image_text):
    data = FakeData(image_size=32, num_workers=0, images_per_class=6)
    data.setup("fit")
    with pytest.raises(
        ValueError, match="shots=5 of TipAdapter wants as many training images of each class, but class 1 has 4"
    ):
        built(TipAdapter(5), image_text()).prepare(image_text(), data)
    with pytest.raises(ValueError, match="takes its images from a datamodule"):
        built(TipAdapter(1), image_text()).prepare(image_text(), None)
    without = FakeData(image_size=32, num_workers=0, val_fraction=0.0)
    without.setup("fit")
    with pytest.raises(ValueError, match="no validation images to choose alpha and beta by"):
        built(TipAdapter(1, views=1), image_text()).prepare(image_text(), without)
