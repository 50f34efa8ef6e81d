import math
from functools import partial

import pytest
import timm
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader

from lightning_transfer import (
    ContrastiveModule,
    FinetuneModule,
    Optim,
    TimmBackbone,
    TransferModule,
    VisualPromptModule,
)
from lightning_transfer.commands.export import export
from lightning_transfer.commands.probe import probe
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import ContrastiveTransform, DigitsData, FakeData
from lightning_transfer.edits import StartFrom
from lightning_transfer.losses.pair import BYOL, DINO, MoCo, MoCoV3, NTXent, SupCon, VICReg
from lightning_transfer.mappings import FirstMapping
from lightning_transfer.models import CheckpointSource
from lightning_transfer.optim import LARS
from lightning_transfer.probes import KnnProbe
from lightning_transfer.projectors import MLPProjector, PrototypeProjector
from lightning_transfer.prompts import PaddingPrompt
from lightning_transfer.teachers import CheckpointTeacher

small = partial(MLPProjector, hidden=32, out_features=16)
METHODS = {
    "simclr": {"loss": lambda: NTXent(0.2)},
    "supcon": {"loss": lambda: SupCon(0.2)},
    "vicreg": {"loss": VICReg},
    "moco": {"loss": lambda: MoCo(32), "momentum": 0.9},
    "moco_v3": {"loss": MoCoV3, "momentum": 0.9, "predictor": small},
    "byol": {"loss": BYOL, "momentum": 0.9, "final_momentum": 1.0, "predictor": small},
    "dino": {"loss": DINO, "momentum": 0.9, "projector": partial(PrototypeProjector, hidden=32, out_features=24)},
}


def module(method="simclr", num_classes=4, backbone=None, **options):
    known = dict(METHODS[method])
    loss = known.pop("loss")()
    torch.manual_seed(0)
    return ContrastiveModule(
        backbone or TimmBackbone("test_resnet", pretrained=False),
        loss,
        num_classes,
        **{"projector": small, **known, **options},
    )


def data(**options):
    options = {"train_transform": ContrastiveTransform, "views": 2, "batch_size": 8, **options}
    return FakeData(image_size=32, num_workers=0, **options)


def batch(views=2, images=8, target=None):
    seen = torch.rand(views, images, 3, 32, 32).unbind()
    target = torch.arange(images) % 4 if target is None else target
    return ImageBatch(seen[0], target, modalities={f"view_{i}": view for i, view in enumerate(seen[1:], 2)})


def figures(run):
    return {name: value.item() for name, value in run.callback_metrics.items()}


@pytest.mark.parametrize("method", METHODS)
def test_every_loss_falls_on_one_batch(method, trainer):
    made, one = module(method, optim=Optim(partial(Adam, lr=0.003), schedule=None)), batch()
    before = made.train().step(one).terms["contrastive"].item()
    trainer(max_steps=40).fit(made, DataLoader([one], batch_size=None))
    after = made.train().step(one).terms["contrastive"].item()
    if method == "moco":  # its negatives are random directions at first, and the batch itself after that
        assert after < math.log(33)
    else:
        assert after < 0.9 * before


@pytest.mark.parametrize("method", METHODS)
def test_logs_what_tells_a_collapse_and_comes_back_from_its_checkpoint_alone(method, trainer, monkeypatch):
    made, run = module(method), trainer(max_epochs=1)
    run.fit(made, data())
    found = figures(run)
    wanted = {"contrastive", "feature_std", "projection_std", "effective_rank", "probe_loss", "probe_accuracy"}
    assert wanted <= {name.removeprefix("train/") for name in found}
    assert {"val/accuracy", "val/loss", "val/knn_accuracy"} <= set(found)
    assert ("train/momentum" in found) == (made.teacher is not None)
    assert ("train/loss_over_uniform" in found) == (method == "dino")
    assert found["train/loss"] == pytest.approx(found["train/contrastive"] + found["train/probe_loss"], rel=1e-5)
    run.save_checkpoint("x.ckpt")
    monkeypatch.setattr("lightning_transfer.backbones.timm.load_weights", lambda *_: pytest.fail("asked for weights"))
    again = TransferModule.load_from_checkpoint("x.ckpt")
    assert type(again) is ContrastiveModule
    for name, value in made.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    run.test(again, data(), verbose=False)
    assert "test/accuracy" in run.callback_metrics


def encoder_after(trainer, steps=3, **options):
    seed_everything(3, verbose=False)
    made = module("byol", **{"optim": Optim(partial(SGD, lr=0.1, momentum=0.9)), **options})
    trainer(max_steps=steps, gradient_clip_val=0.5).fit(made, data())
    return made


def test_the_probe_leaves_the_encoder_as_it_is_without_one_to_the_bit(trainer):
    watched, alone = encoder_after(trainer), encoder_after(trainer, probe=False)
    assert watched.model.head.weight.any()
    assert not list(alone.model.head.parameters())
    for part in ("model.backbone", "projector", "predictor", "teacher"):
        theirs = {name: value for name, value in alone.state_dict().items() if name.startswith(part)}
        assert theirs
        for name, value in theirs.items():
            assert torch.equal(watched.state_dict()[name], value), name


def test_the_probe_has_a_group_and_a_rate_of_its_own(trainer):
    from lightning_transfer.optim import ParamGroups

    made = module(optim=Optim(partial(SGD, lr=0.1), schedule=None, groups=ParamGroups(head_multiplier=7)))
    run = trainer(max_steps=1)
    run.fit(made, data())
    groups = {group["name"]: group for group in run.optimizers[0].param_groups}
    assert groups["head"]["lr"] == pytest.approx(0.7)
    assert groups["projector"]["lr"] == 0.1
    assert {id(p) for p in made.model.head.parameters()} == {
        id(p) for name, group in groups.items() if name.startswith("head") for p in group["params"]
    }


@pytest.mark.parametrize("momentum", [0.0, 0.3, 1.0])
def test_the_teacher_follows_by_its_momentum_and_gets_no_gradient(trainer, momentum):
    made = module("moco", momentum=momentum, optim=Optim(partial(SGD, lr=0.1), schedule=None))
    before = [p.clone() for p in made.teacher.parameters()]

    class Watch(Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            assert all(p.grad is None for p in module.teacher.parameters())

    trainer(max_steps=1, callbacks=[Watch()]).fit(made, data())
    student = [*made.model.backbone.parameters(), *made.projector.parameters()]
    assert any(not torch.equal(p, old) for p, old in zip(student, before, strict=True))
    for p, old, new in zip(made.teacher.parameters(), before, student, strict=True):
        expected = {0.0: new, 1.0: old}.get(momentum)
        if expected is None:
            torch.testing.assert_close(p, momentum * old + (1 - momentum) * new)
        else:
            assert torch.equal(p, expected)


def test_the_momentum_rises_along_half_a_cosine(trainer):
    made, seen = module("byol", momentum=0.9, final_momentum=1.0), []

    class Watch(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            seen.append(module.current_momentum())

    trainer(max_steps=8, max_epochs=-1, callbacks=[Watch()], accumulate_grad_batches=1).fit(made, data())
    assert seen == pytest.approx([1 - 0.1 * (math.cos(math.pi * k / 8) + 1) / 2 for k in range(8)])


def test_views_of_one_size_are_embedded_alike_and_small_ones_beside_them():
    made = module("dino").train()
    one = batch(3)
    small_view = torch.rand(8, 3, 16, 16)
    one = one._replace(modalities={**one.modalities, "view_3": small_view})
    seen, taught = [], []

    def note(_, arguments):
        seen.extend(arguments[0])
        taught.extend(arguments[1])

    made.loss.register_forward_pre_hook(note)
    made.step(one)
    assert [view.shape for view in seen] == [(8, 24)] * 3
    assert len(taught) == 2
    assert not any(view.requires_grad for view in taught)
    made.eval()
    expected = made.projector(made.model.backbone(small_view).embedding)
    seen.clear()
    with torch.no_grad():
        made._train_step(one)
    torch.testing.assert_close(seen[2], expected)


def test_momentum_contrast_embeds_one_view_each():
    made, seen, taught = module("moco").train(), [], []
    made.model.backbone.register_forward_hook(lambda _, images, __: seen.append(images[0]))
    made.teacher["backbone"].register_forward_hook(lambda _, images, __: taught.append(images[0]))
    one = batch()
    made.step(one)
    assert torch.equal(seen[0], one.image)
    assert torch.equal(taught[0], one.modalities["view_2"])
    assert (len(seen), len(taught)) == (1, 1)


@pytest.mark.parametrize("num_classes", [1, 4])
def test_works_without_labels(num_classes, trainer):
    made = module(num_classes=num_classes)
    images = [batch(target=torch.full((8,), -1)) for _ in range(2)]
    run = trainer(max_epochs=1)
    run.fit(made, DataLoader(images, batch_size=None), DataLoader(images, batch_size=None))
    assert not any(name.startswith("val/") for name in run.callback_metrics)
    assert "train/effective_rank" in run.callback_metrics
    if num_classes > 1:
        assert figures(run)["train/probe_loss"] == 0


def test_a_part_of_the_labels_is_enough_for_the_probe():
    made = module().train()
    target = torch.tensor([-1, 0, 1, -1, 2, 3, -1, -1])
    logits = torch.randn(8, 4)
    loss, terms = made._probe(logits, target)
    known = target >= 0
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits[known], target[known]))
    assert terms["probe_accuracy"] == (logits.argmax(1) == target)[known].float().mean()


def test_neighbours_vote_as_the_probe_of_that_name_does(trainer):
    from lightning_transfer.contracts import Embedded

    made, run = module(neighbours=3, bank=20), trainer(max_epochs=1)
    voters = []

    class Watch(Callback):
        def on_validation_batch_start(self, trainer, module, batch, batch_idx):
            voters.append(module._voters)

    run.callbacks.append(Watch())
    run.fit(made, data(val_fraction=0.3))
    found = voters[-1]
    assert (found.k, len(found.target)) == (3, 24)  # whole batches, at least as many as asked for
    val = next(iter(run.val_dataloaders)).image
    again = KnnProbe(k=[3]).fit(Embedded(found.bank, found.target), None, 4).head
    with torch.no_grad():
        embedding = made.eval()(val).features.embedding
    torch.testing.assert_close(found(embedding), again(embedding))


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize("method", ["moco", "dino", "byol"])
def test_resumed_equals_uninterrupted(method, trainer, halt_after, tmp_path, monkeypatch):
    def run(name, stop=3, ckpt=None):
        seed_everything(5, verbose=False)
        monkeypatch.setenv("PL_GLOBAL_SEED", "5")
        made = module(method, optim=Optim(partial(LARS, lr=0.3), scaling="linear"))
        saved = ModelCheckpoint(tmp_path / name, every_n_epochs=1)
        run = trainer(max_epochs=3, callbacks=[halt_after(stop), saved], enable_checkpointing=True)
        run.fit(made, data(), ckpt_path=ckpt, weights_only=True)
        return saved.best_model_path, made.state_dict(), figures(run)

    _, whole, told = run("whole")
    broken, _, _ = run("broken", 1)
    _, resumed, told_again = run("resumed", ckpt=broken)
    assert all(torch.equal(resumed[name], value) for name, value in whole.items())
    assert told_again["val/knn_accuracy"] == told["val/knn_accuracy"]


@pytest.fixture
def pretrained(trainer):
    """A checkpoint of digits, beside the module that it is of."""
    made = module(num_classes=10)
    images = DigitsData(
        image_size=32, num_workers=0, cache=True, batch_size=64, train_transform=partial(ContrastiveTransform, flip=0.0), views=2,
    )  # fmt: skip
    run = trainer(max_steps=4, limit_val_batches=0)
    run.fit(made, images)
    run.save_checkpoint("encoder.ckpt")
    return made.eval()


IMAGE = torch.rand(3, 3, 32, 32)


def test_the_encoder_begins_a_fine_tuning(pretrained):
    embedding = pretrained.model.backbone(IMAGE).embedding
    backbone = TimmBackbone("test_resnet", pretrained=False)
    tuned = FinetuneModule(backbone, 7, edits=[StartFrom("encoder.ckpt")]).eval()
    torch.testing.assert_close(tuned.model.backbone(IMAGE).embedding, embedding)  # laid out otherwise in memory
    by_file = TimmBackbone("test_resnet", pretrained="encoder.ckpt").eval()
    torch.testing.assert_close(by_file(IMAGE).embedding, embedding)


def test_probes_are_fitted_on_the_encoder(pretrained):
    (row,) = probe(ckpt_path="encoder.ckpt", probes=[KnnProbe(k=[5])], device="cpu")
    assert 0.5 < row["test/accuracy"] <= 1  # digits are told apart by any network


def test_the_encoder_is_a_teacher_and_a_source(pretrained):
    teacher = CheckpointTeacher("encoder.ckpt")
    teacher.load()
    expected = pretrained(IMAGE)
    found = teacher(ImageBatch(IMAGE, torch.zeros(3)))
    torch.testing.assert_close(found.features.embedding, expected.features.embedding)
    torch.testing.assert_close(found.logits, expected.logits)
    source = CheckpointSource("encoder.ckpt").eval()
    torch.testing.assert_close(source(IMAGE).logits, expected.logits)
    prompted = VisualPromptModule("encoder.ckpt", PaddingPrompt(2), 4, FirstMapping(), image_size=32)
    assert prompted(IMAGE).logits.shape == (3, 4)


def test_the_encoder_is_exported_as_timm_has_it(pretrained):
    export("encoder.ckpt", "timm", "exported", num_images=4)
    network = timm.create_model("local-dir:exported", pretrained=True).eval()
    backbone = pretrained.model.backbone
    torch.testing.assert_close(network((IMAGE - backbone.mean) / backbone.std), pretrained(IMAGE).logits)


def test_without_a_probe_the_backbone_alone_is_exported(trainer):
    run, made = trainer(max_steps=1), module(num_classes=1)
    run.fit(made, data(num_classes=1))
    run.save_checkpoint("encoder.ckpt")
    export("encoder.ckpt", "timm", "exported", num_images=4)
    network = timm.create_model("local-dir:exported", pretrained=True).eval()
    backbone = made.eval().model.backbone
    torch.testing.assert_close(network((IMAGE - backbone.mean) / backbone.std), backbone(IMAGE).embedding)
    assert set(network.state_dict()) == set(backbone.model.state_dict())
    with pytest.raises(ValueError, match="pretrained without labels and knows no classes; format=timm"):
        export("encoder.ckpt", "torch", "exported.pt2", num_images=4)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: module(momentum=0.9), "momentum=0.9 makes a teacher, which loss=NTXent does not ask"),
        (lambda: module("moco", momentum=None), "loss=MoCo compares with a teacher.*set momentum=0.99"),
        (lambda: module("moco", momentum=1.1), r"momentum=1.1 must lie in \[0, 1\]"),
        (lambda: module("byol", final_momentum=-1), r"final_momentum=-1 must lie in \[0, 1\]"),
        (lambda: module(final_momentum=1), "final_momentum=1 is of a teacher"),
        (lambda: module("byol", predictor=None), "loss=BYOL needs a predictor"),
        (lambda: module("byol", predictor=MLPProjector), "predictor has out_features=128, the projector 16"),
        (lambda: module(projector=lambda width: torch.nn.Tanh()), "Tanh has no attribute out_features"),
        (lambda: module(neighbours=0), "neighbours=0 must be at least 1"),
    ],
)
def test_refuses_what_does_not_fit(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


@pytest.mark.parametrize(
    ("method", "made", "sentence"),
    [
        ("simclr", {"views": 1}, "NTXent compares 2 views or more of an image, and the data gives 1; set data.views=2"),
        ("byol", {"views": 3}, "BYOL compares 2 views of an image, and the data gives 3"),
        ("simclr", {"batch_size": 1}, "a batch of one image leaves nothing to be told apart; set data.batch_size"),
        ("supcon", {"views": 1, "labels_per_class": 1}, "class 'class 0' has one training image.*set data.views=2"),
        ("moco", {"batch_size": 40}, "queue=32 of MoCo is shorter than the 40 images"),
    ],
)
def test_says_what_is_wrong_with_the_data(method, made, sentence, trainer):
    with pytest.raises(ValueError, match=sentence):
        trainer(max_epochs=1).fit(module(method), data(**made))


def test_says_that_classes_are_needed_and_a_small_view_is_too_small(trainer):
    unlabelled = DataLoader([batch(target=torch.full((8,), -1))], batch_size=None)
    with pytest.raises(ValueError, match="no label, which loss=SupCon needs"):
        trainer(max_epochs=1).fit(module("supcon"), unlabelled)
    small_views = [ContrastiveTransform, partial(ContrastiveTransform, pixels=16)]
    fixed = TimmBackbone("vit_tiny_patch16_224", pretrained=False, options={"depth": 1})
    with pytest.raises(ValueError, match="refuses images of 16x16 pixels"):
        trainer(max_epochs=1).fit(module("dino", backbone=fixed, image_size=32), data(views=small_views))
    with pytest.raises(ValueError, match="final_momentum needs an end"):
        trainer(max_epochs=-1).fit(module("byol", optim=Optim(schedule=None)), data())


def test_the_checkpoint_names_its_loss(pretrained):
    hparams = torch.load("encoder.ckpt", weights_only=True)["hyper_parameters"]
    assert hparams["loss"] == {
        "class_path": "lightning_transfer.losses.pair.nt_xent.NTXent",
        "init_args": {"temperature": 0.2},
    }
