"""Distillation with memory banks and a queue, of the same images or of others of their class: two processes at half the batch size equal one."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything
from ranks import quiet_trainer
from torch.optim import SGD

from lightning_transfer import DistillModule, Optim, TimmBackbone
from lightning_transfer.data import FakeData
from lightning_transfer.losses.distill import CRD, InfoNCE, Labels, SoftTargetKL
from lightning_transfer.teachers import TimmTeacher


def run(devices: int, out: Path, modality: str | None) -> None:
    seed_everything(0, verbose=False)
    torch.set_num_threads(1)
    teacher = TimmTeacher("test_resnet", pretrained=False, options={"num_classes": 4})
    losses = {"labels": Labels(), "soft": SoftTargetKL(4), "crd": CRD(negatives=20, dim=8), "queue": InfoNCE(queue=16)}
    # layer norms: batch norm over half a batch is another function
    backbone = TimmBackbone("test_convnext", pretrained=False)
    optim = Optim(partial(SGD, lr=0.01))
    module = DistillModule(backbone, teacher, 4, losses, {"crd": 0.1}, optim=optim, teacher_modality=modality)
    fake = partial(FakeData, image_size=32, num_workers=0, images_per_class=20)
    others = {modality: fake(val_fraction=0.2)} if modality else None
    data = fake(batch_size=12 // devices, labels_per_class=12, same_class=others)
    trainer = quiet_trainer(devices, 2, num_sanity_val_steps=0)
    trainer.fit(module, data)
    metrics = {key: value.item() for key, value in trainer.callback_metrics.items() if key != "train/loss_step"}
    torch.save({"weights": module.state_dict(), "metrics": metrics}, f"{out}.{trainer.global_rank}")


@pytest.mark.skipif(sys.platform == "win32", reason="gloo and ddp are run on Linux and macOS")
@pytest.mark.parametrize("modality", [None, "other"], ids=["same images", "others of their class"])
def test_two_processes_equal_one_banks_included(modality, tmp_path, run_file):
    for devices in (1, 2):
        run_file(__file__, devices, tmp_path / str(devices), modality)
    one, *two = (torch.load(tmp_path / name, weights_only=True) for name in ("1.0", "2.0", "2.1"))
    assert {"losses.crd.student_bank", "losses.crd.teacher_bank", "losses.queue.queue"} <= set(one["weights"])
    for rank in two:
        for name, value in one["weights"].items():
            torch.testing.assert_close(rank["weights"][name], value, rtol=1e-4, atol=1e-5, msg=name)
        assert rank["metrics"] == pytest.approx(one["metrics"], rel=1e-4, abs=1e-5)
    assert not [name for name in one["weights"] if "teacher." in name]
