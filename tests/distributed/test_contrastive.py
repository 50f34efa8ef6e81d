"""Contrast with what all processes hold: two processes at half the batch size equal one."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything
from ranks import quiet_trainer
from torch.optim import SGD

from lightning_transfer import ContrastiveModule, Optim, TimmBackbone
from lightning_transfer.data import ContrastiveTransform, FakeData
from lightning_transfer.losses.pair import DINO, MoCo, MoCoV3, NTXent, SupCon, VICReg
from lightning_transfer.projectors import MLPProjector

small = partial(MLPProjector, hidden=16, out_features=8, norm=False)  # batch norm over half a batch is another function
LOSSES = {
    "NTXent": (NTXent, {}, 2),
    "SupCon": (
        SupCon,
        {},
        1,
    ),  # with one view images alone in their class are left out, and not as many in each process
    "MoCo": (partial(MoCo, 20), {"momentum": 0.9}, 2),
    "MoCoV3": (MoCoV3, {"momentum": 0.9, "predictor": small}, 2),
    "DINO": (DINO, {"momentum": 0.9}, 2),
    "VICReg": (VICReg, {}, 2),
}


def run(devices: int, out: Path) -> None:
    torch.set_num_threads(1)
    found = {}
    for name, (loss, options, views) in LOSSES.items():
        seed_everything(0, verbose=False)
        backbone = TimmBackbone("test_convnext", pretrained=False)
        optim = Optim(partial(SGD, lr=0.05), scaling="linear")
        module = ContrastiveModule(backbone, loss(), 4, small, optim=optim, **options)
        data = FakeData(
            image_size=32, num_workers=0, images_per_class=12, batch_size=8 // devices, views=views,
            train_transform=ContrastiveTransform,
        )  # fmt: skip
        trainer = quiet_trainer(devices, 1, num_sanity_val_steps=0)
        trainer.fit(module, data)
        metrics = {k: v.item() for k, v in trainer.callback_metrics.items() if k in ("train/contrastive", "val/loss")}
        found[name] = {"weights": module.state_dict(), "metrics": metrics}
    torch.save(found, f"{out}.{trainer.global_rank}")


@pytest.mark.skipif(sys.platform == "win32", reason="gloo and ddp are run on Linux and macOS")
def test_two_processes_equal_one(tmp_path, run_file):
    for devices in (1, 2):
        run_file(__file__, devices, tmp_path / str(devices))
    one, *two = (torch.load(tmp_path / name, weights_only=True) for name in ("1.0", "2.0", "2.1"))
    for rank in two:
        for loss, expected in one.items():
            for name, value in expected["weights"].items():
                torch.testing.assert_close(
                    rank[loss]["weights"][name], value, rtol=1e-4, atol=1e-5, msg=lambda m, at=(loss, name): f"{at} {m}"
                )
            assert rank[loss]["metrics"] == pytest.approx(expected["metrics"], rel=1e-4, abs=1e-5), loss
