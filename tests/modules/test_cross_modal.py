"""A student of one modality, a teacher of another."""

from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d
from torch.optim import SGD
from torch.utils.data import DataLoader

from lightning_transfer import DistillModule, FinetuneModule, Optim, TimmBackbone
from lightning_transfer.commands.probe import probe
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import EvalTransform, FakeData
from lightning_transfer.data.modalities import Edges
from lightning_transfer.data.sources import ArraySource
from lightning_transfer.edits import StartFrom
from lightning_transfer.losses.distill import FitNetHint, Labels, SoftTargetKL
from lightning_transfer.mixing import Mixup
from lightning_transfer.probes import KnnProbe, LogisticProbe
from lightning_transfer.teachers import CachedTeacher, ModuleTeacher, TimmTeacher

SIZE = 32


class Brightness(FakeData):
    """Class k is filled with 60 times k: another modality of the classes of `FakeData`."""

    names = ("w", "x", "y", "z")

    @property
    def class_names(self):
        return list(self.names)

    def sources(self):
        made = super().sources()["train"]
        images = (60 * made.targets).view(-1, 1, 1, 1).expand(-1, 3, 12, 12)
        return {"train": ArraySource(images.to(torch.uint8), made.targets, "brightness")}


class Level(nn.Module):
    """Knows the classes of `Brightness`, and nothing else."""

    def forward(self, image):
        level = adaptive_avg_pool2d(image, 1)[:, 0, 0]
        return -300 * (level - torch.arange(4, device=image.device) * 60 / 255).square()


def data(**options):
    other = Brightness(image_size=12, images_per_class=60, val_fraction=0.3)
    given = {"image_size": SIZE, "images_per_class": 60, "num_workers": 0, "val_fraction": 0.3, "batch_size": 28}
    return FakeData(**{**given, "same_class": {"level": other}, **options})


def student(teacher=None, losses=None, **options):
    optim = options.pop("optim", None) or Optim(partial(SGD, lr=0.1, momentum=0.9), schedule=None)
    return DistillModule(
        TimmBackbone("test_resnet", pretrained=False),
        teacher or ModuleTeacher(Level(), list(Brightness.names)),
        4,
        losses or {"soft": SoftTargetKL(1)},
        teacher_modality=options.pop("teacher_modality", "level"),
        optim=optim,
        **options,
    )


class Blind(FakeData):
    """Training batches keep no label: only the pairing has seen them."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch._replace(target=torch.full_like(batch.target, -1)) if self.trainer.training else batch


def test_classes_are_learned_from_pairs_without_a_label(trainer):
    seed_everything(0, verbose=False)
    made = data(batch_size=14)
    module = student(class_names=made.class_names, optim=Optim(partial(SGD, lr=0.01, momentum=0.9), schedule=None))
    run = trainer(max_epochs=8)
    run.fit(module, made)
    assert run.callback_metrics["teacher/accuracy"] == 1  # though it knows the classes by other names
    (result,) = run.test(module, data(same_class=None), verbose=False)
    assert result["test/accuracy"] > 0.9


def test_labels_do_not_leak(trainer):
    weights = []
    for kind in (FakeData, Blind):
        seed_everything(3, verbose=False)
        made = data()
        made.__class__ = kind
        module = student()
        trainer(max_epochs=2).fit(module, made)
        weights.append(module.state_dict())
    assert all(torch.equal(weights[1][name], value) for name, value in weights[0].items() if "metrics" not in name)


class Stop(Callback):
    def on_train_epoch_end(self, trainer, pl_module):
        trainer.should_stop = True


def test_a_resumed_training_meets_the_same_pairs(trainer, tmp_path):
    def make():
        seed_everything(5, verbose=False)
        return student()

    whole = make()
    trainer(max_epochs=2).fit(whole, data())
    half = make()
    saving = [ModelCheckpoint(tmp_path, filename="x"), Stop()]
    trainer(callbacks=saving, max_epochs=2, enable_checkpointing=True).fit(half, data())
    rest = make()
    trainer(max_epochs=2).fit(rest, data(), ckpt_path=tmp_path / "x.ckpt", weights_only=True)
    found = rest.state_dict()
    assert all(torch.equal(found[name], value) for name, value in whole.state_dict().items())


def test_losses_are_made_for_the_other_modalitys_shapes(trainer):
    teacher = TimmTeacher("test_resnet", pretrained=False, options={"num_classes": 4})
    hint = FitNetHint(["backbone.model.layer2"], ["model.layer2"])
    module = student(teacher, {"hint": hint})
    bigger = Brightness(image_size=64, images_per_class=60)
    trainer(max_steps=2).fit(module, data(same_class={"level": bigger}))
    assert isinstance(module.losses["hint"].projectors[0][0], nn.ConvTranspose2d)  # the teacher's map is twice as large


def test_features_go_from_pictures_to_their_edges_and_are_fine_tuned_and_probed(trainer, tmp_path):
    """The student regresses a middle layer, without labels; its checkpoint is where a fine-tuning with labels starts."""

    def edges(**options):
        return data(same_class=None, modality=Edges(), **options)

    teacher = TimmTeacher("test_resnet", pretrained=False, options={"num_classes": 9})
    hint = FitNetHint(["backbone.model.layer2"], ["model.layer2"])
    module = student(teacher, {"hint": hint}, teacher_modality="picture")
    run = trainer(max_epochs=2)
    run.fit(module, edges())
    run.save_checkpoint(tmp_path / "x.ckpt")
    start = StartFrom(str(tmp_path / "x.ckpt"))
    tuned = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, edits=[start])
    for name, value in module.model.backbone.state_dict().items():
        assert torch.equal(tuned.model.backbone.state_dict()[name], value)
    trainer(max_steps=2).fit(tuned, edges(labels_per_class=2))
    rows = probe(ckpt_path=str(tmp_path / "x.ckpt"), probes=[LogisticProbe(), KnnProbe(k=(1,))], out="probed")
    assert all(row["test/accuracy"] > 0.3 for row in rows)
    again = probe(edges(labels_per_class=3), ckpt_path=str(tmp_path / "x.ckpt"), probes=[KnnProbe(k=(1,))], out="few")
    assert again[0]["test/accuracy"] > 0.3


def test_what_does_not_fit_gets_a_sentence(trainer):
    with pytest.raises(
        ValueError, match="mixing=Mixup mixes what the student sees, but the teacher sees teacher_modality='level'"
    ):
        student(mixing=Mixup())
    with pytest.raises(
        ValueError, match="teacher_modality='sound' is in no batch; there are level, beside the image itself"
    ):
        trainer(max_steps=1).fit(student(teacher_modality="sound"), data())
    with pytest.raises(ValueError, match="teacher_modality='level' is in no batch; there are none"):
        trainer(max_steps=1).fit(student(), data(same_class=None))
    fewer = ModuleTeacher(nn.Sequential(Level(), nn.Linear(4, 3)))
    with pytest.raises(ValueError, match="the teacher knows 3 classes, the student learns 4"):
        trainer(max_steps=1).fit(student(fewer), data())


def test_a_modality_out_of_range_gets_a_sentence(trainer):
    image = torch.rand(8, 3, SIZE, SIZE)
    batch = ImageBatch(image, torch.arange(8) % 4, modalities={"level": 255 * image})
    with pytest.raises(ValueError, match=r"images must be floats in \[0, 1\]"):
        trainer(max_steps=1).fit(student(image_size=SIZE), DataLoader([batch], batch_size=None))


def test_a_teacher_that_hears_another_order_of_classes_is_found_out(trainer):
    class Turned(Level):
        def forward(self, image):
            return super().forward(image).roll(1, dims=1)

    with pytest.raises(ValueError, match="the teacher is at chance level"):
        trainer(max_steps=1).fit(student(ModuleTeacher(Turned())), data())


def test_labels_can_be_learned_beside(trainer):
    module = student(losses={"soft": SoftTargetKL(1), "labels": Labels()})
    trainer(max_steps=1).fit(module, data())
    image = torch.rand(8, 3, SIZE, SIZE)
    batch = ImageBatch(image, torch.arange(8) % 4, modalities={"level": torch.rand(8, 3, 12, 12)})
    output = module.train().step(batch)
    taught = Level()(batch.modalities["level"]).softmax(1)
    expected = (taught * (taught.clamp_min(1e-30).log() - module(image).logits.log_softmax(1))).sum(1).mean()
    torch.testing.assert_close(output.terms["soft"], expected, rtol=1e-4, atol=1e-4)


def test_a_cache_holds_what_the_teacher_says_of_as_many_pairs_as_there_are_augmentations(trainer, tmp_path):
    weights = []
    for cached in (False, True):
        seed_everything(4, verbose=False)
        teacher = ModuleTeacher(Level())
        if cached:
            teacher = CachedTeacher(teacher, tmp_path / "cache", precision=32, check=0.5)
        made = data(
            augmentations=2,
            train_transform=EvalTransform,
            same_class={"level": Noisy(image_size=12, images_per_class=60)},
        )
        module = student(teacher)
        trainer(max_epochs=4).fit(module, made)
        weights.append(module.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, msg=name)
    endless = data(train_transform=EvalTransform, same_class={"level": Noisy(image_size=12, images_per_class=60)})
    with pytest.raises(
        ValueError, match="same_class draws anew in each epoch, and no cache can hold all that; set data.augmentations"
    ):
        trainer(max_epochs=1).fit(student(CachedTeacher(ModuleTeacher(Level()), tmp_path / "other")), endless)


class Noisy(Brightness):
    """Images of one class are all different."""

    def sources(self):
        made = super().sources()["train"]
        images = made.images.clone()
        images[:, :, 0] = torch.arange(len(images)).view(-1, 1, 1).to(torch.uint8)
        return {"train": ArraySource(images, made.targets, "noisy")}
