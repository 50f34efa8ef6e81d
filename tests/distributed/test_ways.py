"""Edits, penalties and the moving average train over two processes as over one, which stay equal to each other bit for bit."""

from functools import partial
from pathlib import Path

import pytest
import torch
from ranks import quiet_trainer
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.callbacks import EMA
from lightning_transfer.data import FakeData
from lightning_transfer.edits import BitFit, LoRA
from lightning_transfer.penalties import L2SP

WAYS = {
    "lora": lambda: ([LoRA(rank=2)], [], [EMA(decay=0.5)]),
    "l2_sp": lambda: ([BitFit()], [L2SP(alpha=0.5, beta=0.1)], []),
}


def run(devices: int, way: str, out: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    edits, penalties, callbacks = WAYS[way]()
    # layer norms: batch norm over half a batch is another function
    backbone = TimmBackbone("test_convnext", pretrained=False)
    module = FinetuneModule(backbone, 4, Optim(partial(SGD, lr=0.05)), edits=edits, penalties=penalties)
    data = FakeData(image_size=32, batch_size=12 // devices, num_workers=0, images_per_class=20, labels_per_class=12)
    trainer = quiet_trainer(devices, 2, callbacks=callbacks)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    trainer.fit(module, data)
    moved = [k for k, v in module.state_dict().items() if not torch.equal(v, before[k])]
    loss = trainer.callback_metrics["train/loss"]
    torch.save(
        {"weights": module.state_dict(), "moved": moved, "loss": loss}, out / f"{devices}_{trainer.global_rank}.pt"
    )


@pytest.mark.parametrize("way", WAYS)
def test_two_processes_train_as_one(way, tmp_path, run_file):
    for devices in (1, 2):
        run_file(__file__, devices, way, tmp_path)
    one, first, second = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in ("1_0", "2_0", "2_1"))
    assert any("backbone" in name for name in first["moved"])
    assert first["moved"] == one["moved"]
    torch.testing.assert_close(first["loss"], one["loss"], rtol=1e-4, atol=1e-5)
    for name, value in first["weights"].items():
        assert torch.equal(second["weights"][name], value), name
        torch.testing.assert_close(one["weights"][name], value, rtol=1e-4, atol=1e-5, msg=name)
