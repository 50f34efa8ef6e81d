from functools import partial
from pathlib import Path

import pytest
import torch
from torch.nn.functional import adaptive_avg_pool2d
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, Optim, TimmBackbone, TransferModule, ZeroShotModule, load_adapter
from lightning_transfer.adapters import CoCoOp, CoOp, TipAdapter
from lightning_transfer.adapters.zero_shot import zero_shot_weights
from lightning_transfer.callbacks import AdapterCheckpoint
from lightning_transfer.contracts import Features, ImageBatch
from lightning_transfer.data import FakeData

NAMES = [f"class {k}" for k in range(4)]
DRAWN = torch.rand(11, 3, 32, 32, generator=torch.Generator().manual_seed(0))
IMAGE = DRAWN[:3]
BATCH = ImageBatch(DRAWN[3:], torch.arange(8) % 4)


def data(**options):
    return FakeData(image_size=32, num_workers=0, batch_size=8, **options)


def module(known, adapter=None, **options):
    return ZeroShotModule(known, class_names=NAMES, image_size=32, adapter=adapter, **options)


ADAPTERS = {
    "coop": lambda: CoOp("a photo of a"),
    "cocoop": lambda: CoCoOp("a photo of a"),
    "tip": lambda: TipAdapter(2, views=2),
    "tip_f": lambda: TipAdapter(2, views=2, train_keys=True),
}


@pytest.mark.parametrize("name", ["coop", "cocoop", "tip_f"])
def test_overfits_one_batch(trainer, image_text, name):
    known, width = image_text(scale=20.0, dim=64), image_text().backbone.num_features
    spread = torch.randn(48, width)  # a random network makes nearly the same of all noise
    known.backbone.forward = lambda image: Features((adaptive_avg_pool2d(image, 4).flatten(1) - 0.5) @ spread)
    adapter = CoOp("a photo of a", class_specific=True) if name == "coop" else ADAPTERS[name]()
    made = module(known, adapter, optim=Optim(partial(AdamW, lr=0.05), schedule=None))
    if name == "tip_f":
        keys = made.model.image_text.encode_image(BATCH.image)
        made.model.adapter.keys.data.copy_(keys[BATCH.target.argsort(stable=True)])
        made.model.adapter.prepare = lambda *_: None
        made.model.adapter.choose = lambda *_: None
    first = made.eval().step(BATCH).loss
    trainer(max_steps=100).fit(made, DataLoader([BATCH], batch_size=None))
    assert made.train().step(BATCH).loss < 0.6 * first


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_training_moves_the_adapter_alone_and_comes_back_from_its_checkpoint(trainer, image_text, name):
    made = module(image_text(), ADAPTERS[name](), optim=Optim(partial(SGD, lr=0.1), schedule=None))
    made.model.image_text.requires_grad_(True)  # whoever thaws it
    before = {key: value.clone() for key, value in made.model.state_dict().items()}
    run = trainer(max_epochs=2)
    run.fit(made, data())
    run.save_checkpoint("x.ckpt")
    after = made.model.state_dict()
    moved = {key for key, value in before.items() if not torch.equal(after[key], value)}
    assert moved
    assert all(key.startswith("adapter.") for key in moved)
    again = TransferModule.load_from_checkpoint("x.ckpt").eval()
    assert torch.equal(again(IMAGE).logits, made.eval()(IMAGE).logits)
    assert again.class_names == NAMES


def test_alpha_and_beta_are_those_of_validation_with_the_trained_keys(trainer, image_text):
    made = module(image_text(), ADAPTERS["tip_f"](), optim=Optim(partial(AdamW, lr=0.01), schedule=None))
    images = data(val_fraction=0.4)
    run = trainer(max_epochs=2)
    run.fit(made, images)
    adapter = made.eval().model.adapter
    found = adapter.found.clone()
    adapter.choose(made.model.image_text)
    assert torch.equal(found, adapter.found)
    (tuned,) = run.validate(made, images, verbose=False)
    for pair in ((0.0, 1.0), (1.0, 5.5), (3.0, 7.0)):
        adapter.found.copy_(torch.tensor(pair))
        (other,) = run.validate(made, images, verbose=False)
        assert other["val/accuracy"] <= tuned["val/accuracy"]


def test_what_trains_no_weights_is_for_one_process(trainer, image_text, monkeypatch):
    run = trainer(max_epochs=1)
    monkeypatch.setattr(type(run), "world_size", 2)
    with pytest.raises(ValueError, match=r"adapter=TipAdapter trains no weights.*trainer\.devices=1"):
        run.fit(module(image_text(), ADAPTERS["tip"]()), data())


def test_test_and_predict_need_no_training(trainer, image_text):
    made, images = module(image_text()), data()
    (result,) = trainer().test(made, images, verbose=False)
    right = total = 0
    weights = zero_shot_weights(made.model.image_text, NAMES, ["a photo of a {}."])
    for batch in images.test_dataloader():
        found = (made.model.image_text.encode_image(batch.image) @ weights.T).argmax(1)
        right, total = right + (found == batch.target).sum(), total + len(found)
    assert result["test/accuracy"] == pytest.approx(float(right / total))
    with pytest.raises(ValueError, match="adapter=null leaves nothing to be learned: `lightning-transfer test`"):
        trainer(max_epochs=1).fit(module(image_text()), data())


def test_words_stand_in_for_names(trainer, image_text):
    known = image_text()
    by_name = ZeroShotModule(known, words={"class 1": "bee"}, class_names=NAMES).eval()
    listed = ZeroShotModule(known, words=["class 0", "bee", "class 2", "class 3"], class_names=NAMES).eval()
    assert torch.equal(by_name(IMAGE).logits, listed(IMAGE).logits)
    assert by_name.class_names == NAMES
    assert listed.class_names[1] == "bee"
    assert not torch.equal(module(known)(IMAGE).logits, listed(IMAGE).logits)
    two = ZeroShotModule(known, 4, words=["cat", "dog"], class_names=NAMES)
    assert two(IMAGE).logits.shape == (3, 2)
    with pytest.raises(ValueError, match="the data has 4 classes, but there are words for 2: .*'cat', 'dog'"):
        trainer().test(two, data())


def test_any_words_for_one_image(image_text):
    made = module(image_text(), CoOp(4))
    probability = made.ask(IMAGE[:1], ["cat", "dog", "bee"])
    assert probability.shape == (1, 3)
    torch.testing.assert_close(probability.sum(1), torch.ones(1))
    alone = ZeroShotModule(made.model.image_text, words=["cat", "dog", "bee"]).eval()
    torch.testing.assert_close(probability, alone(IMAGE[:1]).logits.softmax(1))
    torch.testing.assert_close(
        made.ask(IMAGE, ["bee", "cat", "dog"]), made.ask(IMAGE, ["cat", "dog", "bee"])[:, [2, 0, 1]]
    )


@pytest.mark.parametrize(
    ("name", "names"),
    [
        ("coop", {"entries"}),
        ("tip", {"keys", "weights", "found", "filled"}),
    ],
)
def test_a_file_of_the_adapter_alone(trainer, image_text, tmp_path, name, names):
    from safetensors.torch import load_file

    known = image_text()
    made = module(known, ADAPTERS[name]())
    trainer(max_epochs=1, callbacks=[AdapterCheckpoint("adapter.safetensors")]).fit(made, data())
    assert load_file("adapter.safetensors").keys() == {f"model.adapter.{key}" for key in names}
    again = load_adapter("adapter.safetensors", image_text=known).eval()
    assert torch.equal(again(IMAGE).logits, made.eval()(IMAGE).logits)
    with pytest.raises(ValueError, match=r"another base than .*load_adapter\(path, image_text=\.\.\.\)"):
        load_adapter("adapter.safetensors", image_text=image_text())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"words": ["cat", "cat"]}, "words: 'cat' names two classes, which no text could tell apart"),
        ({"words": ["sea_lion", "sea lion"]}, "words: 'sea lion' names two classes"),
        ({"words": ["cat", ""]}, "words: the class of number 1 has an empty name"),
        ({"words": ["cat"]}, "words: 'cat' alone leaves nothing to choose between"),
        ({"words": []}, "there are no words to look for"),
        ({}, "there are no words to look for"),
        ({"words": {"cat": "kitten"}, "class_names": ["dog"]}, r"words names \['cat'\], but the classes are \['dog'\]"),
        ({"words": ["cat", "dog"], "templates": "a photo"}, "templates='a photo' names no list"),
        ({"words": ["cat", "dog"], "templates": []}, "holds no template"),
        ({"words": ["a " * 30, "b"]}, "tokens, more than context_length=24"),
        (
            {"words": ["cat", "dog"], "templates": "imagenet", "adapter": CoOp(2)},
            "templates='imagenet' are not read by CoOp, which learns the words",
        ),
        ({"class_names": ["a", "b"], "num_classes": 3}, "num_classes=3, but there are 2 names"),
    ],
)
def test_refuses(image_text, options, message):
    with pytest.raises(ValueError, match=message):
        ZeroShotModule(image_text(), **options)


def test_what_is_no_image_text_model_is_told(trainer):
    fine = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, image_size=32)
    run = trainer(max_epochs=1)
    run.fit(fine, data())
    run.save_checkpoint("fine.ckpt")
    for given, message in (
        ("fine.ckpt", "'fine.ckpt' holds a FinetuneModule, which reads no texts"),
        ("clip", "image_text='clip' must be a checkpoint of an ImageTextModule, ending in .ckpt"),
        (torch.nn.Identity(), "image_text=Identity is no image-text model"),
    ):
        with pytest.raises(ValueError, match=message):
            ZeroShotModule(given, words=["cat", "dog"])
    with pytest.raises(FileNotFoundError, match=r"image_text: ckpt_path='none.ckpt' is no file"):
        ZeroShotModule("none.ckpt", words=["cat", "dog"])
    assert Path("fine.ckpt").is_file()
