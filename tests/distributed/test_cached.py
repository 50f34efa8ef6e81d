"""Two processes fill one cache as a single one would, and train like it; a single one then reads what they wrote."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from ranks import quiet_trainer
from torch.optim import SGD

from lightning_transfer import DistillModule, Optim, TimmBackbone
from lightning_transfer.data import FakeData
from lightning_transfer.losses.distill import Labels, SoftTargetKL
from lightning_transfer.teachers import CachedTeacher, TimmTeacher


def run(devices: int, folder: Path, out: Path) -> None:
    seed_everything(0, verbose=False)
    torch.set_num_threads(1)
    teacher = TimmTeacher("test_resnet", pretrained=False, options={"num_classes": 4})
    losses = {"labels": Labels(), "soft": SoftTargetKL(4)}
    # layer norms: batch norm over half a batch is another function
    backbone = TimmBackbone("test_convnext", pretrained=False)
    cached = CachedTeacher(teacher, folder, precision=32)
    module = DistillModule(backbone, cached, 4, losses, optim=Optim(partial(SGD, lr=0.01)))
    data = FakeData(image_size=32, batch_size=12 // devices, num_workers=0, images_per_class=20, augmentations=2)
    trainer = quiet_trainer(devices, 3, num_sanity_val_steps=0)
    trainer.fit(module, data)
    metrics = {key: value.item() for key, value in trainer.callback_metrics.items() if key != "train/loss_step"}
    torch.save({"weights": module.state_dict(), "metrics": metrics}, f"{out}.{trainer.global_rank}")


@pytest.mark.skipif(sys.platform == "win32", reason="gloo and ddp are run on Linux and macOS")
def test_two_processes_fill_what_one_would(tmp_path, run_file):
    for devices, folder in ((1, "alone"), (2, "together")):
        run_file(__file__, devices, tmp_path / folder, tmp_path / str(devices))
    one, *two = (torch.load(tmp_path / name, weights_only=True) for name in ("1.0", "2.0", "2.1"))
    for rank in two:
        for name, value in one["weights"].items():
            torch.testing.assert_close(rank["weights"][name], value, rtol=1e-4, atol=1e-5, msg=name)
        assert rank["metrics"] == pytest.approx(one["metrics"], rel=1e-4, abs=1e-5)
    alone, together = (np.load(tmp_path / name / "rows.npy") for name in ("alone", "together"))
    assert (alone["image"] != 0).sum() > 100
    assert np.array_equal(alone["image"], together["image"])
    np.testing.assert_allclose(together["scores"], alone["scores"], rtol=1e-4, atol=1e-5)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.0", "2.0", "2.1", "alone", "together"]
