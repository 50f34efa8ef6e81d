import json
import math
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from torch.optim import SGD, Adam

from lightning_transfer import ImageTextModule, Optim, TimmBackbone
from lightning_transfer.callbacks import FrozenCache, LogRetrieval
from lightning_transfer.data import DigitsData, EvalTransform, FakeData, TrainTransform
from lightning_transfer.losses.pair import PairwiseSigmoid
from lightning_transfer.models import ImageTextModel, OpenClipModel
from lightning_transfer.text_towers import TransformerTower


def backbone(name="test_resnet"):
    return TimmBackbone(name, pretrained=False)


def tower():
    return TransformerTower(width=16, depth=1, heads=2, context_length=32)


def module(rate=3e-3, **options):
    both = {} if "model" in options else {"backbone": backbone(), "text_tower": tower(), "dim": 8}
    return ImageTextModule(**both, optim=Optim(partial(Adam, lr=rate), schedule=None), **options)


def data(**options):
    fixed = {"train_transform": EvalTransform}
    return FakeData(**{"image_size": 32, "num_workers": 0, "batch_size": 8, "num_classes": 6, **fixed, **options})


def figures(run):
    return {key: value.item() for key, value in run.callback_metrics.items()}


@pytest.mark.parametrize("options", [{}, {"loss": PairwiseSigmoid(), "bias": -2.0}])
def test_learns_which_image_has_which_caption(trainer, options):
    seed_everything(0, verbose=False)
    run = trainer(max_epochs=24)
    trained = module(5e-3, **options)
    run.fit(trained, data(images_per_class=24, batch_size=16))
    found = figures(run)
    assert found["val/image_to_text_r1"] > 0.8
    assert found["val/text_to_image_r1"] > 0.8
    assert found["val/chance_r1"] < 0.3
    run.test(trained, data(images_per_class=24, batch_size=16), verbose=False)
    assert figures(run)["test/image_to_text_r1"] > 0.8


def test_the_cache_of_frozen_layers_says_that_it_can_do_nothing(trainer):
    with pytest.raises(ValueError, match="ImageTextModule calls its parts one by one; leave the cache out"):
        trainer(max_epochs=1, callbacks=[FrozenCache()]).fit(module(), data())


def test_the_loss_at_the_start_is_near_chance_and_the_same_for_a_batch_as_by_hand():
    made = module().eval()
    batch = data(batch_size=16)
    batch.setup("fit")
    first = next(iter(batch.val_dataloader()))
    image, text = made.model.encode_image(first.image), made.model.encode_text(first.text)
    scores = made.model.logits(image, text)
    alike = torch.tensor([[a == b for b in first.text] for a in first.text]) & ~torch.eye(
        len(first.text), dtype=torch.bool
    )
    scores = scores.masked_fill(alike, -torch.inf)
    target = torch.arange(len(scores))
    expected = (
        torch.nn.functional.cross_entropy(scores, target) + torch.nn.functional.cross_entropy(scores.T, target)
    ) / 2
    assert made.step(first).loss.item() == pytest.approx(expected.item(), rel=1e-5)


class Losses(Callback):
    def __init__(self):
        self.values, self.seen = [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(outputs["loss"].item())
        self.seen.append(batch.image.numel() > 0)


def counted(made):
    calls = [0]
    made.model.backbone.register_forward_hook(lambda *call: calls.__setitem__(0, calls[0] + len(call[1][0])))
    return calls


@pytest.mark.parametrize("options", [{}, {"train_transform": TrainTransform, "augmentations": 2}])
def test_a_locked_tower_sees_each_version_once_and_training_is_what_it_would_be(trainer, options):
    results = []
    for gigabytes in (4.0, 0.0):
        seed_everything(0, verbose=False)
        made, images = module(lock_image=True, lock_text=gigabytes == 4.0, max_gigabytes=gigabytes), data(**options)
        if gigabytes == 0.0:
            made.model.text_tower.requires_grad_(False)  # by hand: not remembered
        before = {k: v.clone() for k, v in made.state_dict().items() if isinstance(v, torch.Tensor)}
        calls, losses = counted(made), Losses()
        run = trainer(max_epochs=4, callbacks=[losses])
        run.fit(made, images)
        results.append((losses.values, figures(run)))
        if gigabytes:
            sets = images.sets
            example = 1  # to see that the tower takes images of this size
            assert calls[0] == len(sets["train"]) * options.get("augmentations", 1) + len(sets["val"]) + example
            assert not any(losses.seen)
            assert not made.model.backbone.training
            assert not made.model.text_tower.training
        for name, value in made.state_dict().items():
            if isinstance(value, torch.Tensor):
                moved = not torch.equal(value, before[name])
                assert moved == ("projection" in name or name == "model.log_scale"), name
    assert results[0][0] == pytest.approx(results[1][0], rel=1e-4)
    assert results[0][1] == pytest.approx(results[1][1], rel=1e-3, abs=1e-4)


def test_what_a_locked_tower_makes_of_images_reaches_a_training_with_workers(trainer):
    results = []
    for workers in (0, 1):
        seed_everything(0, verbose=False)
        made, losses = module(lock_image=True, lock_text=True), Losses()
        calls, images = counted(made), data(num_workers=workers)
        run = trainer(max_epochs=2, callbacks=[losses])
        run.fit(made, images)
        assert not any(losses.seen)
        assert calls[0] == len(images.sets["train"]) + len(images.sets["val"]) + 1
        results.append(losses.values)
    assert results[0] == pytest.approx(results[1])


def test_a_random_transform_without_augmentations_is_seen_anew(trainer):
    made, losses = module(lock_image=True), Losses()
    trainer(max_epochs=1, callbacks=[losses]).fit(made, data(train_transform=TrainTransform))
    assert all(losses.seen)


def test_data_gives_out_images_again_to_whoever_comes_next(trainer):
    images = data()
    trainer(max_epochs=1).fit(module(lock_image=True), images)
    losses = Losses()
    trainer(max_epochs=1, callbacks=[losses]).fit(module(), images)
    assert all(losses.seen)


def test_the_scale_is_held_and_can_fall_again(trainer):
    made = module(scale=100.0)
    made.model.log_scale.data.fill_(9.0)
    assert made.model.scale() == 100
    made.optim = Optim(partial(SGD, lr=0.1), schedule=None)
    trainer(max_epochs=1).fit(made, data())
    assert made.model.log_scale.item() <= math.log(100)
    made.model.log_scale.data.fill_(math.log(100) - 1e-6)
    made.model.scale().backward()
    assert made.model.log_scale.grad > 0


@pytest.mark.parametrize("lock", [True, False])
def test_a_checkpoint_alone_rebuilds_it(trainer, lock, tmp_path):
    made = module(lock_image=lock, loss=PairwiseSigmoid(chunk=7))
    run = trainer(max_epochs=1)
    run.fit(made, data())
    run.save_checkpoint(tmp_path / "x.ckpt")
    again = ImageTextModule.load_from_checkpoint(tmp_path / "x.ckpt")
    assert isinstance(again.model, ImageTextModel)
    assert (again.lock_image, again.loss.chunk) == (lock, 7)
    image, made = torch.rand(2, 3, 32, 32), made.eval()
    again = again.eval()
    torch.testing.assert_close(again(image), made(image))
    torch.testing.assert_close(again.model.encode_text(["tea"]), made.model.encode_text(["tea"]))


def test_an_open_clip_model_trains_and_comes_back(trainer, tmp_path):
    pytest.importorskip("open_clip")
    small = {
        "embed_dim": 12,
        "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
        "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
    }
    made = module(model=OpenClipModel(small), image_size=32, lock_text=True)
    run = trainer(max_epochs=1)
    run.fit(made, data())
    run.save_checkpoint(tmp_path / "x.ckpt")
    again = ImageTextModule.load_from_checkpoint(tmp_path / "x.ckpt").eval()
    assert isinstance(again.model, OpenClipModel)
    torch.testing.assert_close(again.model.encode_text(["tea"]), made.eval().model.encode_text(["tea"]))


class Unlock(Callback):
    def __init__(self, part):
        self.part = part

    def on_train_epoch_start(self, trainer, pl_module):
        next(getattr(pl_module.model, self.part).parameters()).requires_grad = True


@pytest.mark.parametrize(("part", "name"), [("backbone", "lock_image"), ("text_tower", "lock_text")])
def test_refuses_to_train_what_is_locked(trainer, part, name):
    with pytest.raises(
        ValueError, match=f"{name}=true keeps a tower as it is, but something, a callback perhaps, lets 1 of"
    ):
        trainer(max_epochs=1, callbacks=[Unlock(part)]).fit(module(**{name: True}), data())


def test_refuses_data_that_does_not_fit(trainer):
    with pytest.raises(ValueError, match="the data has no captions, and image-text training needs one an image"):
        trainer(max_epochs=1).fit(module(), DigitsData(image_size=32, num_workers=0))
    with pytest.raises(ValueError, match="the data has no captions"):
        trainer(max_epochs=1).fit(module(lock_image=True), DigitsData(image_size=32, num_workers=0))
    with pytest.raises(ValueError, match=r"a batch of one pair has no other caption.*data.batch_size"):
        trainer(max_epochs=1, num_sanity_val_steps=0).fit(module(), data(batch_size=1))
    with pytest.raises(ValueError, match=r"features of the (train|val) images would take .* but max_gigabytes=1e-06"):
        trainer(max_epochs=1).fit(module(lock_image=True, max_gigabytes=1e-6), data())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"dim": None}, "vectors have .* entries and the text tower's 16; set dim"),
        ({"scale": 200.0}, r"scale=200.0 must lie in \(0, 100\]"),
        ({"max_gigabytes": -1.0}, "max_gigabytes=-1.0 must be at least 0"),
        ({"text_tower": None}, "give backbone and text_tower, or a model that brings both"),
        ({"model": ImageTextModel(backbone(), tower(), 8)}, "model brings both towers and their scale; leave backbone"),
    ],
)
def test_refuses_arguments_that_do_not_fit(options, said):
    with pytest.raises(ValueError, match=said):
        ImageTextModule(**{"backbone": backbone(), "text_tower": tower(), "dim": 8, **options})


def test_refuses_what_could_not_learn():
    with pytest.raises(ValueError, match="loss=PairwiseSigmoid needs a bias, and the model was made without one"):
        ImageTextModule(model=ImageTextModel(backbone(), tower(), 8), loss=PairwiseSigmoid())
    narrow = ImageTextModel(backbone(), TransformerTower(width=backbone().num_features, depth=1), None)
    with pytest.raises(ValueError, match="lock_image and lock_text with dim=null leave nothing to be learned"):
        ImageTextModule(model=narrow, lock_image=True, lock_text=True)
    with pytest.raises(ValueError, match="knows no classes of its own; ZeroShotModule"):
        module().test_logits(torch.rand(1, 3, 32, 32))


def test_draws_what_captions_find(trainer):
    from PIL import Image

    images = data(images_per_class=20)
    made = module(lock_image=True)
    run = trainer(max_epochs=1, callbacks=[LogRetrieval(captions=3, images=4)])
    run.fit(made, images)
    run.test(made, images, verbose=False)
    for split in ("val", "test"):
        with Image.open(f"retrieval_{split}.png") as picture:
            assert min(picture.size) > 300
    assert json.dumps(sorted(p.name for p in Path().glob("*.png"))) == '["retrieval_test.png", "retrieval_val.png"]'
    with pytest.raises(ValueError, match="images=0 of LogRetrieval must be at least 1"):
        LogRetrieval(images=0)
