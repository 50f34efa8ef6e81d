from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import BatchSizeFinder
from torch.optim import AdamW

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.callbacks import EMA, BatchFinder, GlobalBatch, Phases
from lightning_transfer.data import FakeData
from lightning_transfer.optim import ParamGroups

pytestmark = [
    pytest.mark.filterwarnings("ignore:`weights_only` was not set"),
    pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used"),
]


class Small(FinetuneModule):
    """Has memory for 12 images."""

    def step(self, batch):
        if len(batch.image) > 12:
            raise RuntimeError("CUDA out of memory. Tried to allocate more than there is")
        return super().step(batch)


class Record(Callback):
    def __init__(self):
        self.steps = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.steps.append((trainer.current_epoch, optimizer.param_groups[0]["lr"]))

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.steps.append((outputs["loss"].item(), tuple(batch.name)))


def trained(trainer, batch_size, *callbacks, epochs=3):
    record = Record()
    seed_everything(3, verbose=False)
    backbone = TimmBackbone("test_vit", pretrained=False, options={"drop_rate": 0.1})
    module = Small(backbone, 4, Optim(partial(AdamW, lr=0.001), groups=ParamGroups(by_stage=True)), image_size=32)
    data = FakeData(image_size=32, batch_size=batch_size, num_workers=0, images_per_class=20)
    run = trainer(max_epochs=epochs, callbacks=[*callbacks, record])
    run.fit(module, data)
    return data, record.steps, module.state_dict(), run


@pytest.mark.parametrize(("finder", "size"), [(BatchFinder(), 8), (BatchFinder(mode="binsearch", margin=0.0), 12)])
def test_trains_as_one_that_starts_with_the_size_found(trainer, tmp_path, finder, size):
    data, steps, weights, _ = trained(trainer, 4, finder)
    assert data.batch_size == data.hparams["batch_size"] == size
    _, expected, expected_weights, _ = trained(trainer, size)
    assert steps == expected
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=0)
    assert not list(tmp_path.rglob("*.ckpt"))


def test_lightnings_own_keeps_the_schedule_of_another_batch_size(trainer):
    _, steps, _, _ = trained(trainer, 4, BatchSizeFinder())
    assert steps[-2][1] > 10 * trained(trainer, 8)[1][-2][1]


@pytest.mark.parametrize("others", [lambda: [EMA(0.5)], lambda: [Phases("lp_ft", length=1)]])
def test_other_callbacks_notice_nothing(trainer, others):
    _, steps, weights, _ = trained(trainer, 4, BatchFinder(), *others())
    _, expected, expected_weights, _ = trained(trainer, 8, *others())
    assert steps == expected
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=0)


def test_fewer_batches_are_accumulated_to_a_global_batch(trainer):
    data, steps, weights, run = trained(trainer, 2, BatchFinder(), GlobalBatch(16), epochs=2)
    assert data.batch_size == 8
    _, expected, expected_weights, other = trained(trainer, 8, GlobalBatch(16), epochs=2)
    assert run.global_step == other.global_step == 2 * (57 // 16)
    assert steps == expected
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=0)


def test_another_error_is_not_taken_for_want_of_memory(trainer, monkeypatch):
    monkeypatch.setattr(Small, "step", lambda *_: (_ for _ in ()).throw(RuntimeError("shapes differ")))
    with pytest.raises(RuntimeError, match="shapes differ"):
        trained(trainer, 4, BatchFinder())


def test_needs_a_datamodule(trainer):
    module = Small(TimmBackbone("test_resnet", pretrained=False), 4)
    data = FakeData(image_size=32, batch_size=4, num_workers=0)
    data.setup("fit")
    with pytest.raises(MisconfigurationException, match="cannot be used with dataloaders passed directly"):
        trainer(max_epochs=1, callbacks=[BatchFinder()]).fit(module, data.train_dataloader())


def test_works_from_the_command_line(caplog):
    main([
        "fit", "--model=FinetuneModule", "--model.backbone=TimmBackbone", "--model.backbone.name=test_resnet",
        "--model.backbone.pretrained=false", "--data=FakeData", "--data.image_size=32", "--data.num_workers=0",
        "--config=smoke", "--config=find_batch_size",
    ])  # fmt: skip
    (best,) = Path("runs").rglob("best.ckpt")
    found = torch.load(best, weights_only=True)["datamodule_hyper_parameters"]["batch_size"]
    assert f"--data.batch_size {found}" in caplog.text
    assert found > 2
