"""Two processes at half the batch size equal one."""

import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from ranks import quiet_trainer
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.data import FakeData
from lightning_transfer.data.corruptions import Corruption


def run(devices: int, out: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    # layer norms: batch norm over half a batch is another function
    module = FinetuneModule(TimmBackbone("test_convnext", pretrained=False), 4, Optim(partial(SGD, lr=0.01)))
    data = FakeData(
        image_size=32,
        batch_size=12 // devices,
        num_workers=0,
        images_per_class=20,
        labels_per_class=12,
        test_sets={"small": FakeData(pixels=8, test_fraction=0.7)},
        corruptions=[Corruption("gaussian_noise", 5), Corruption("motion_blur")],
    )
    trainer = quiet_trainer(devices, 2, num_sanity_val_steps=0)
    trainer.fit(module, data)
    metrics = {key: value.item() for key, value in trainer.callback_metrics.items() if key != "train/loss_step"}
    tested = {key: value for found in trainer.test(module, data, verbose=False) for key, value in found.items()}
    if trainer.is_global_zero:
        torch.save({"weights": module.state_dict(), "metrics": {**metrics, **tested}}, out)


def launch(devices: int, out: Path) -> None:
    """As a user's script is started, of which Lightning then starts copies; the other tests here begin like torchrun."""
    clean = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")}
    command = [sys.executable, __file__, str(devices), str(out)]
    result = subprocess.run(command, env=clean, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.skipif(sys.platform == "win32", reason="gloo and ddp are run on Linux and macOS")
def test_two_processes_equal_one(tmp_path, run_file):
    run_file(__file__, 1, tmp_path / "1.pt")
    launch(2, tmp_path / "2.pt")
    one, two = (torch.load(tmp_path / name, weights_only=True) for name in ("1.pt", "2.pt"))
    for name, value in one["weights"].items():
        torch.testing.assert_close(two["weights"][name], value, rtol=1e-4, atol=1e-5, msg=name)
    assert two["metrics"] == pytest.approx(one["metrics"], rel=1e-4, abs=1e-5)
    assert {
        "val/loss",
        "val/accuracy",
        "train/loss",
        "test/ece",
        "small/f1",
        "gaussian_noise_5/loss",
        "corrupted/accuracy",
    } <= set(one["metrics"])


if __name__ == "__main__":
    run(int(sys.argv[1]), Path(sys.argv[2]))
