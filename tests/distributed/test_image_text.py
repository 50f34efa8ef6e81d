"""Image-text training with duplicates of captions and parts of unequal size: two processes at half the batch size equal one."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything
from ranks import quiet_trainer
from torch.optim import SGD

from lightning_transfer import ImageTextModule, Optim, TimmBackbone
from lightning_transfer.data import EvalTransform, FakeData
from lightning_transfer.losses.pair import PairwiseSigmoid, SymmetricCrossEntropy
from lightning_transfer.text_towers import TransformerTower


def run(devices: int, out: Path, kind: str) -> None:
    seed_everything(0, verbose=False)
    torch.set_num_threads(1)
    module = ImageTextModule(
        # layer norms: batch norm over half a batch is another function
        TimmBackbone("test_convnext", pretrained=False),
        TransformerTower(width=16, depth=1, heads=2),
        dim=8,
        loss=SymmetricCrossEntropy(chunk=5) if kind == "clip" else PairwiseSigmoid(),
        optim=Optim(partial(SGD, lr=0.05)),
        lock_image=kind == "locked",
    )
    # one batch an epoch, which 2 processes share out unequally
    data = FakeData(
        image_size=32, batch_size=46 // devices, num_workers=0, images_per_class=8, val_fraction=0.2, test_fraction=0,
        train_transform=EvalTransform, num_classes=7,
    )  # fmt: skip
    trainer = quiet_trainer(devices, 3, num_sanity_val_steps=0)
    trainer.fit(module, data)
    metrics = {key: value.item() for key, value in trainer.callback_metrics.items() if key != "train/loss_step"}
    torch.save(
        {"weights": module.state_dict(), "metrics": metrics, "images": len(data.train_set)},
        f"{out}.{trainer.global_rank}",
    )


@pytest.mark.parametrize("kind", ["clip", "sigmoid", "locked"])
@pytest.mark.skipif(sys.platform == "win32", reason="gloo and ddp are run on Linux and macOS")
def test_two_processes_equal_one(kind, tmp_path, run_file):
    for devices in (1, 2):
        run_file(__file__, devices, tmp_path / str(devices), kind)
    one, *two = (torch.load(tmp_path / name, weights_only=True) for name in ("1.0", "2.0", "2.1"))
    assert one["images"] % 2 == 1
    for rank in two:
        for name, value in one["weights"].items():
            torch.testing.assert_close(rank["weights"][name], value, rtol=1e-4, atol=1e-5, msg=name)
        assert rank["metrics"] == pytest.approx(one["metrics"], rel=1e-4, abs=1e-5)
    assert "val/image_to_text_r5" in one["metrics"]
