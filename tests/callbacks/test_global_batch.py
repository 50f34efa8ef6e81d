from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.callbacks import GlobalBatch
from lightning_transfer.data import FakeData


class Steps(Callback):
    """Rate of each step, and the images that it saw."""

    def __init__(self):
        self.rates, self.images, self.seen = [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        self.seen += batch.name

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.rates.append(optimizer.param_groups[0]["lr"])
        self.images.append(sorted(self.seen))
        self.seen = []


def trained(trainer, batch_size, *callbacks, images=26, **options):
    torch.manual_seed(0)
    module = FinetuneModule(
        TimmBackbone("test_convnext", pretrained=False), 4, Optim(partial(SGD, lr=0.05, momentum=0.9))
    )
    data = FakeData(image_size=32, batch_size=batch_size, num_workers=0, images_per_class=40, labels_per_class=images)
    steps = Steps()
    run = trainer(max_epochs=2, callbacks=[*callbacks, steps], **options)
    run.fit(module, data)
    return module.state_dict(), steps, run


@pytest.mark.parametrize("images", [26, 16])  # of each of 4 classes; 104 leaves out 8 images beyond 3 steps, 64 none
@pytest.mark.parametrize("batch_size", [8, 16, 32])
def test_equals_one_batch_of_that_size(trainer, batch_size, images):
    weights, steps, run = trained(trainer, batch_size, GlobalBatch(32), images=images)
    expected, whole, _ = trained(trainer, 32, images=images)
    assert steps.rates == whole.rates  # as many steps, at the same points of the schedule
    assert steps.images == whole.images
    torch.testing.assert_close(weights, expected, rtol=1e-4, atol=1e-6)
    assert (run.accumulate_grad_batches, run.limit_train_batches) == (1, 1.0)  # the trainer is handed back


def test_a_smaller_training_set_is_one_step_by_its_mean(trainer):
    weights, steps, _ = trained(trainer, 8, GlobalBatch(128), images=6)  # 24 images in 3 batches
    expected, whole, _ = trained(trainer, 128, images=6)
    assert steps.images == whole.images
    torch.testing.assert_close(weights, expected, rtol=1e-4, atol=1e-6)


def test_lightnings_own_accumulation_takes_a_smaller_step_at_the_end_of_an_epoch(trainer):
    """104 images: three steps on 32 and a fourth on one batch of 8, whose gradient it divides by four all the same."""
    _, steps, _ = trained(trainer, 8, accumulate_grad_batches=4)
    assert [len(images) for images in steps.images] == [32, 32, 32, 8] * 2


def test_a_limit_of_batches_is_kept_in_whole_steps(trainer):
    _, steps, _ = trained(trainer, 8, GlobalBatch(32), limit_train_batches=10)
    assert [len(images) for images in steps.images] == [32, 32] * 2
    _, steps, _ = trained(trainer, 8, GlobalBatch(32), limit_train_batches=2)
    assert [len(images) for images in steps.images] == [16] * 2
    _, steps, _ = trained(trainer, 8, GlobalBatch(32), limit_train_batches=0.75)  # 9 of 13
    assert [len(images) for images in steps.images] == [32, 32] * 2


@pytest.mark.parametrize(
    ("size", "options", "message"),
    [
        (30, {}, "size=30 of GlobalBatch is no multiple of data.batch_size x processes = 8 x 1; 24 or 32 is"),
        (5, {}, "= 8 x 1; 8 is, or take another data.batch_size"),
        (32, {"accumulate_grad_batches": 2}, "leave out trainer.accumulate_grad_batches=2"),
    ],
)
def test_complaints(trainer, size, options, message):
    with pytest.raises(ValueError, match=message):
        trained(trainer, 8, GlobalBatch(size), **options)
    with pytest.raises(ValueError, match="must be at least 1"):
        GlobalBatch(0)


def test_needs_a_datamodule(trainer):
    module = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4)
    data = FakeData(image_size=32, num_workers=0)
    data.setup("fit")
    with pytest.raises(ValueError, match="needs a datamodule of images"):
        trainer(max_epochs=1, callbacks=[GlobalBatch(64)]).fit(module, data.train_dataloader())


@pytest.mark.parametrize("way", ["--config=global_batch", "--trainer.callbacks+=GlobalBatch"])
def test_works_from_the_command_line(caplog, way):
    main([
        "fit", "--model=FinetuneModule", "--model.backbone=TimmBackbone", "--model.backbone.name=test_resnet",
        "--model.backbone.pretrained=false", "--data=FakeData", "--data.image_size=32", "--data.num_workers=0",
        "--data.batch_size=4", "--config=smoke", way, "--trainer.callbacks.size=8",
    ])  # fmt: skip
    assert "a step is taken on 2 batches of 4 images from each of 1 processes" in caplog.text
