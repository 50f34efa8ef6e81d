import copy
import math
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy
from torch.optim import SGD
from torch.utils.data import DataLoader

from lightning_transfer import DistillModule, Optim, TimmBackbone, TransferModule
from lightning_transfer.callbacks import EMA
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import FakeData
from lightning_transfer.losses.distill import (
    CRD,
    DKD,
    OFA,
    RKD,
    AttentionTransfer,
    FitNetHint,
    HardLabels,
    InfoNCE,
    Labels,
    SoftTargetKL,
)
from lightning_transfer.losses.supervised import Focal, MeanSquaredError
from lightning_transfer.mixing import Mixup
from lightning_transfer.optim import ParamGroups
from lightning_transfer.teachers import CheckpointTeacher, Ensemble, ModuleTeacher, TimmTeacher

SIZE = 32


class Prototypes(nn.Module):
    """Knows the classes of `FakeData` by their mean images; it has a batch norm, as a real teacher would."""

    def __init__(self, order=(0, 1, 2, 3)):
        super().__init__()
        data = FakeData(image_size=SIZE)
        data.setup("fit")
        batch = next(iter(data._load(data._sets["train"], batch_size=64)))
        source = data.train_set.source
        images = torch.stack([source.image(i) for i in range(len(source))]) / 255
        means = torch.stack([images[source.targets == k].mean(0) for k in order])
        self.register_buffer("prototypes", adaptive_avg_pool2d(means, 4).flatten(1))
        self.norm = nn.BatchNorm1d(48, affine=False)
        self.norm(self.prototypes)
        assert len(batch.indices)

    def forward(self, image):
        seen = adaptive_avg_pool2d(image, 4).flatten(1)
        self.norm(seen)  # moves unless it is in evaluation mode
        return -10 * torch.cdist(seen, self.prototypes)


def backbone(name="test_resnet"):
    return TimmBackbone(name, pretrained=False)


def data(**options):
    return FakeData(**{"image_size": SIZE, "images_per_class": 60, "num_workers": 0, "val_fraction": 0.3, **options})


def student(losses, weights=None, teacher=None, **options):
    teacher = teacher or ModuleTeacher(Prototypes())
    return DistillModule(options.pop("backbone", None) or backbone(), teacher, 4, losses, weights, **options)


def timm_teacher():
    return TimmTeacher("test_resnet", pretrained=False, options={"num_classes": 4})


def batch(**options):
    return ImageBatch(torch.rand(8, 3, SIZE, SIZE), torch.arange(8) % 4, **options)


LAYERS = {"student_layers": ["backbone.model.layer2"], "teacher_layers": ["model.layer2"]}


def test_the_loss_is_the_weighted_sum_of_unweighted_terms(trainer):
    module = student({"labels": Labels(), "soft": SoftTargetKL(3)}, {"labels": 0.25, "soft": 2})
    trainer(max_steps=1).fit(module, data())
    met = batch()
    output = module.train().step(met)
    logits, taught = module(met.image).logits, module.teacher(met).logits
    labels = cross_entropy(logits, met.target)
    p, log_q = (taught / 3).softmax(1), (logits / 3).log_softmax(1)
    soft = 9 * (p * (p.log() - log_q)).sum(1).mean()
    assert output.terms["labels"].item() == pytest.approx(labels.item(), rel=1e-4)
    assert output.terms["soft"].item() == pytest.approx(soft.item(), rel=1e-4)
    assert output.loss.item() == pytest.approx(0.25 * labels.item() + 2 * soft.item(), rel=1e-4)
    assert output.terms["soft_temperature"] == 3
    plain = taught.softmax(1)
    assert output.terms["teacher_entropy"].item() == pytest.approx(
        -(plain * plain.log()).sum(1).mean().item(), rel=1e-4
    )


def test_learns_the_teacher_from_images_without_labels(trainer):
    unlabelled = [ImageBatch(torch.rand(8, 3, SIZE, SIZE), torch.full((8,), -1))]
    module = student(
        {"soft": SoftTargetKL(1)}, image_size=SIZE, optim=Optim(partial(SGD, lr=0.2, momentum=0.9), schedule=None)
    )
    trainer(max_steps=80).fit(module, DataLoader(unlabelled, batch_size=None))
    assert module.train().step(unlabelled[0]).loss < 0.02


def test_everything_is_logged(trainer, tmp_path):
    module = student({"labels": Labels(), "soft": SoftTargetKL(4)})
    run = trainer(max_epochs=1, logger=CSVLogger(tmp_path))
    run.fit(module, data())
    names = {"train/loss", "train/labels", "train/soft", "train/soft_temperature", "train/teacher_entropy", "val/loss"}
    assert names | {"val/accuracy", "teacher/accuracy"} <= set(run.callback_metrics)
    assert run.callback_metrics["teacher/accuracy"] > 0.9


def test_validation_and_test_measure_the_student_alone(trainer):
    module = student({"soft": SoftTargetKL(4)})
    run = trainer(max_epochs=1)
    run.fit(module, data())
    module.teacher._network = None  # nobody may ask it
    (result,) = run.test(module, data(), verbose=False)
    outputs = run.predict(module, data())
    losses = [-probability.log()[range(len(b.target)), b.target] for probability, b in outputs]
    assert result["test/loss"] == pytest.approx(torch.cat(losses).mean().item(), rel=1e-3)


def test_nothing_of_the_teacher_changes_or_is_kept(trainer, tmp_path):
    network = Prototypes().train()
    before = copy.deepcopy(network.state_dict())
    module = student({"labels": Labels(), "soft": SoftTargetKL(4)}, teacher=network)
    ema = EMA(0.5)
    run = trainer(max_epochs=2, callbacks=[ema])
    run.fit(module, data())
    run.save_checkpoint(tmp_path / "x.ckpt")
    after = network.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    content = torch.load(tmp_path / "x.ckpt", weights_only=True)
    assert not [name for name in content["state_dict"] if "teacher" in name or "prototypes" in name]
    recorded = content["hyper_parameters"]["teacher"]["init_args"]
    assert (recorded["module"], len(recorded["sha256"])) == (None, 64)
    teachers = {id(parameter) for parameter in network.parameters()}
    assert not teachers & {id(p) for group in run.optimizers[0].param_groups for p in group["params"]}
    assert ema._average_model.module.teacher is module.teacher


def test_the_students_checkpoint_loads_without_a_teacher_and_trains_on_only_with_it(trainer, tmp_path):
    losses = {"labels": Labels(), "hint": FitNetHint(), "crd": CRD(negatives=4, dim=8)}
    module = student(losses, teacher=ModuleTeacher(Embedding()))
    run = trainer(max_epochs=1)
    run.fit(module, data())
    run.save_checkpoint(tmp_path / "x.ckpt")
    image = torch.rand(3, 3, SIZE, SIZE)
    again = TransferModule.load_from_checkpoint(tmp_path / "x.ckpt").eval()
    assert torch.equal(again(image).logits, module.eval()(image).logits)
    trainer().test(again, data(), verbose=False)
    with pytest.raises(ValueError, match=r"Embedding was given in Python.*load_from_checkpoint\(path, teacher="):
        trainer(max_epochs=2).fit(again, data())
    again = DistillModule.load_from_checkpoint(tmp_path / "x.ckpt", teacher=ModuleTeacher(Embedding()))
    trainer(max_steps=1).fit(again, data())


class Embedding(nn.Module):
    """A network with a map and an embedding, and weights that are always the same."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(0)
        self.layer = nn.Conv2d(3, 6, 4, stride=4)
        self.layer.weight.data = torch.randn(self.layer.weight.shape, generator=generator)
        self.layer.bias.data.zero_()

    def forward(self, image):
        from lightning_transfer.contracts import Features, Prediction

        maps = adaptive_avg_pool2d(self.layer(image), 1)
        return Prediction(maps.mean((2, 3))[:, :4], Features(maps.mean((2, 3)), (maps,)))


FEATURES = {
    "hint": partial(FitNetHint, **LAYERS),
    "attention": partial(AttentionTransfer, **LAYERS),
    "rkd": RKD,
    "input": partial(FitNetHint, ["head:input"], ["model.fc:input"]),
    "contrast": InfoNCE,
    "crd": partial(CRD, negatives=8, dim=16),
    "ofa": partial(OFA, ["backbone.model.layer1"]),
}


class Losses(Callback):
    def __init__(self):
        self.values = []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(outputs["loss"].item())


def followed(trainer, module, **options):
    losses = Losses()
    trainer(callbacks=[losses, *options.pop("callbacks", ())], **options).fit(module, data(), **options.pop("fit", {}))
    return losses.values


@pytest.mark.parametrize("name", FEATURES)
def test_every_kind_of_feature_can_be_learned(trainer, name):
    teacher = (
        Ensemble([timm_teacher()]) if name == "rkd" else ModuleTeacher(Trained()) if name == "ofa" else timm_teacher()
    )
    module = student({name: FEATURES[name]()}, teacher=teacher, optim=Optim(partial(SGD, lr=0.02), schedule=None))
    values = followed(trainer, module, max_epochs=4)
    assert sum(values[-4:]) < sum(values[:4])
    assert all(p.grad is None for p in module.teacher.network.parameters())


class Trained(Prototypes):
    pass


def test_what_losses_learn_is_trained_as_fast_as_a_head(trainer):
    groups = ParamGroups(head_multiplier=10)
    module = student(
        {"hint": FitNetHint(**LAYERS)}, teacher=timm_teacher(), optim=Optim(partial(SGD, lr=0.01), None, groups)
    )
    run = trainer(max_steps=1)
    run.fit(module, data())
    rates = {group["name"]: group["lr"] for group in run.optimizers[0].param_groups}
    assert rates["losses"] == pytest.approx(0.1)
    assert rates["backbone"] == pytest.approx(0.01)


@pytest.mark.parametrize("ema", [False, True])
def test_a_resumed_training_equals_an_uninterrupted_one_banks_included(trainer, tmp_path, ema):
    def make():
        seed_everything(5, verbose=False)
        losses = {
            "labels": Labels(),
            "crd": CRD(negatives=8, dim=16),
            "queue": InfoNCE(16),
            "hint": FitNetHint(**LAYERS),
        }
        return student(losses, teacher=fixed)

    def run(module, **options):
        resume = options.pop("ckpt_path", None)
        made = trainer(callbacks=[EMA(0.5)] if ema else [], **options)
        made.fit(module, data(), ckpt_path=resume, weights_only=True if resume else None)
        return made

    seed_everything(1, verbose=False)
    fixed = timm_teacher()
    fixed.load()
    whole = make()
    straight = run(whole, max_epochs=2)
    half = make()
    saving = [ModelCheckpoint(tmp_path, filename="x"), Stop()]
    trainer(callbacks=[EMA(0.5), *saving] if ema else saving, max_epochs=2, enable_checkpointing=True).fit(half, data())
    rest = make()
    resumed = run(rest, max_epochs=2, ckpt_path=tmp_path / "x.ckpt")
    assert resumed.global_step == straight.global_step
    found = rest.state_dict()
    assert {"losses.crd.student_bank", "losses.crd.scale", "losses.queue.queue"} <= set(found)
    for name, value in whole.state_dict().items():
        assert torch.equal(found[name], value), name


class Stop(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


def test_images_are_mixed_before_both_see_them(trainer):
    module = student({"labels": Labels(), "soft": SoftTargetKL(1)}, mixing=Mixup(1.0))
    values = followed(trainer, module, max_steps=2)
    assert all(math.isfinite(value) for value in values)
    unlabelled = batch()._replace(target=torch.full((8,), -1))
    mixed = student({"soft": SoftTargetKL(1)}, mixing=Mixup(1.0)).augment(unlabelled)
    assert not torch.equal(mixed.image, unlabelled.image)


def test_weights_but_that_of_the_labels_warm_up(trainer):
    module = student({"labels": Labels(), "soft": SoftTargetKL(4)}, {"soft": 3}, warmup_epochs=4)
    trainer(max_steps=1).fit(module, data())
    output, warm = module.train().step(batch()), (module.current_epoch + 1) / 4
    assert warm < 1
    torch.testing.assert_close(output.loss, output.terms["labels"] + warm * 3 * output.terms["soft"])


def test_an_ensemble_of_checkpoints_teaches_by_its_average(trainer, tmp_path):
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        optim = Optim(partial(SGD, lr=0.1, momentum=0.9), schedule=None)
        module = student({"labels": Labels()}, optim=optim, class_names=data().class_names)
        run = trainer(max_epochs=4)
        run.fit(module, data())
        run.save_checkpoint(tmp_path / f"{seed}.ckpt")
        paths.append(CheckpointTeacher(tmp_path / f"{seed}.ckpt"))
    module = student({"soft": SoftTargetKL(4)}, teacher=Ensemble(paths, [3, 1]), class_names=data().class_names)
    run = trainer(max_epochs=1)
    run.fit(module, data())
    run.save_checkpoint(tmp_path / "x.ckpt")
    recorded = torch.load(tmp_path / "x.ckpt", weights_only=True)["hyper_parameters"]["teacher"]["init_args"]
    assert [len(t["init_args"]["sha256"]) for t in recorded["teachers"]] == [64, 64]
    assert recorded["weights"] == [3, 1]


@pytest.mark.parametrize("order", [(1, 2, 3, 0), "constant"])
def test_a_teacher_at_chance_level_stops_the_run(trainer, order):
    network = Constant() if order == "constant" else Prototypes(order)
    with pytest.raises(ValueError, match="teacher is at chance level: it gets 0.[02]"):
        trainer(max_steps=1).fit(student({"soft": SoftTargetKL()}, teacher=network), data())


class Constant(nn.Module):
    def forward(self, image):
        return torch.tensor([[5.0, 0.0, 0.0, 0.0]]).repeat(len(image), 1)


def test_a_teachers_classes_must_be_the_students(trainer):
    names = data().class_names
    swapped = ModuleTeacher(Prototypes(), [names[1], names[0], *names[2:]])
    module = student({"soft": SoftTargetKL()}, teacher=swapped, class_names=names)
    with pytest.raises(ValueError, match="class 0 is 'class 1' for the teacher and 'class 0' for the data"):
        trainer(max_steps=1).fit(module, data())
    module = student({"soft": SoftTargetKL()}, teacher=ModuleTeacher(Prototypes((0, 1, 2))))
    with pytest.raises(ValueError, match="the teacher knows 3 classes, the student learns 4"):
        trainer(max_steps=1).fit(module, data())


def test_features_can_be_learned_from_a_teacher_of_other_classes(trainer):
    teacher = TimmTeacher("test_resnet", pretrained=False, options={"num_classes": 9})
    assert followed(trainer, student({"rkd": RKD()}, teacher=teacher), max_steps=1)


@pytest.mark.parametrize(
    ("losses", "options", "message"),
    [
        ({}, {}, "losses are none"),
        ({"a": Labels()}, {"weights": {"b": 1}}, "weights names b, but the losses are a"),
        ({"a": Labels()}, {"weights": {"a": 0}}, "weights=.*not all 0"),
        ({"a": Labels()}, {"weights": {"a": -1}}, "weights=.*at least 0"),
        ({"loss": Labels()}, {}, "cannot be named loss"),
        ({"train": Labels(), "ok": Labels()}, {}, "cannot be named train;"),
        ({"a.b": Labels()}, {}, "cannot be named a.b"),
        ({"a": DKD()}, {"mixing": Mixup()}, "mixing=Mixup .* losses.a=DKD takes one class an image"),
        ({"a": Labels(Focal())}, {"mixing": Mixup()}, "losses.a=Labels takes one class"),
        (
            {"a": FitNetHint(["backbone.model.layr2"], ["x"])},
            {},
            "student has no layer 'backbone.model.layr2'.*backbone.model.layer2",
        ),
        ({"a": FitNetHint(**LAYERS)}, {"compile": True}, "names layers of the student, which a compiled"),
        ({"a": Labels()}, {"warmup_epochs": -1}, "warmup_epochs=-1"),
    ],
)
def test_what_does_not_fit_gets_a_sentence_when_it_is_built(losses, options, message):
    with pytest.raises(ValueError, match=message):
        student(losses, teacher=timm_teacher(), **options)


def test_a_supervised_loss_of_numbers_is_refused():
    with pytest.raises(ValueError, match="loss=MeanSquaredError is for regression"):
        Labels(MeanSquaredError())


@pytest.mark.parametrize(
    ("losses", "teacher", "message"),
    [
        ({"a": HardLabels()}, CheckpointTeacher("missing.ckpt"), "teacher: .*missing.ckpt.* is no file"),
        (
            {"a": FitNetHint(["backbone.model.layer2"], ["model.layr2"])},
            None,
            "teacher has no layer 'model.layr2'.*model.layer2",
        ),
        (
            {"a": FitNetHint(["backbone.model.layer4"], ["model.layer1"])},
            None,
            "losses.a: no projector joins the student's",
        ),
        ({"a": FitNetHint(["backbone.model"], ["model.layer1"])}, None, None),
        (
            {"a": AttentionTransfer(["head:input"], ["model.layer1"])},
            None,
            "losses.a: AttentionTransfer cannot compare",
        ),
    ],
)
def test_what_does_not_fit_gets_a_sentence_before_training_starts(trainer, losses, teacher, message):
    module = student(losses, teacher=teacher or timm_teacher())
    steps = Losses()
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        trainer(max_steps=1, callbacks=[steps]).fit(module, data())
    assert not steps.values


def test_data_that_a_loss_cannot_use_gets_a_sentence(trainer):
    loader = DataLoader([batch()], batch_size=None)
    module = student({"crd": CRD(negatives=4)}, teacher=timm_teacher(), image_size=SIZE)
    with pytest.raises(ValueError, match="losses.crd: CRD keeps a row for every training image"):
        trainer(max_steps=1).fit(module, loader)
    with pytest.raises(ValueError, match="image_size must be given"):
        trainer(max_steps=1).fit(student({"soft": SoftTargetKL()}), loader)
    unlabelled = DataLoader([batch()._replace(target=torch.full((8,), -1))], batch_size=None)
    with pytest.raises(ValueError, match=r"no label, which losses=\['labels'\] need"):
        trainer(max_steps=1).fit(student({"labels": Labels()}, image_size=SIZE), unlabelled)


def test_a_size_that_the_teacher_refuses_gets_a_sentence(trainer):
    teacher = TimmTeacher("test_vit", pretrained=False, options={"num_classes": 4})
    with pytest.raises(ValueError, match="refuses images of 33x33 pixels.*image_size"):
        trainer(max_steps=1).fit(student({"soft": SoftTargetKL()}, teacher=teacher), data(image_size=33))


def test_a_teacher_that_is_the_student_is_refused(trainer):
    shared = backbone()
    module = student({"rkd": RKD()}, teacher=ModuleTeacher(shared.model), backbone=shared)
    with pytest.raises(ValueError, match="the teacher shares weights with the student"):
        trainer(max_steps=1).fit(module, data())


def test_half_precision_training_stays_finite(trainer):
    losses = {"soft": SoftTargetKL(4), "hint": FitNetHint(**LAYERS), "crd": CRD(negatives=8, dim=16)}
    values = followed(trainer, student(losses, teacher=ModuleTeacher(Both())), max_steps=3, precision="bf16-mixed")
    assert all(math.isfinite(value) for value in values)


class Both(nn.Module):
    """Layers of a timm model, decisions of the prototypes."""

    def __init__(self):
        super().__init__()
        teacher = timm_teacher()
        teacher.load()
        self.model, self.decide, self.whole = teacher.network.model, Prototypes(), teacher.network

    def forward(self, image):
        return self.whole(image)._replace(logits=self.decide(image.float()))
