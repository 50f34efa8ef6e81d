"""Episodes over processes: two that each take half of them equal one."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything
from ranks import quiet_trainer
from torch.optim import SGD

from lightning_transfer import FewShotModule, Optim
from lightning_transfer.backbones import Conv4
from lightning_transfer.data import EpisodeData, FakeData
from lightning_transfer.fewshot import PrototypeRule, SimpleShot
from lightning_transfer.inner_loops import MAML

ANSWERS = {
    "prototypes": ({"rule": PrototypeRule()}, True),
    "maml": ({"inner_loop": MAML(0.01, 1, ways=3)}, True),
    "simple_shot": ({"rule": SimpleShot()}, False),
}


def run(devices: int, out: Path) -> None:
    torch.set_num_threads(1)
    found = {}
    for name, (answers, trains) in ANSWERS.items():
        seed_everything(0, verbose=False)
        optim = Optim(partial(SGD, lr=0.01), schedule=None)
        module = FewShotModule(Conv4(width=8, norm="group"), **answers, optim=optim, image_size=32)
        inner = FakeData(image_size=32, num_workers=0, num_classes=12, images_per_class=6)
        data = EpisodeData(
            inner,
            ways=3,
            queries=2,
            episodes=7,
            train_episodes=8,
            batch_size=4 // devices,
            val_classes=0.3,
            novel_classes=0.3,
        )
        trainer, metrics = quiet_trainer(devices, 1, num_sanity_val_steps=0), {}
        if trains:
            trainer.fit(module, data)
            metrics |= {k: v.item() for k, v in trainer.callback_metrics.items()}
        trainer.test(module, data, verbose=False)
        metrics |= {k: v.item() for k, v in trainer.callback_metrics.items()}
        found[name] = {"weights": module.state_dict(), "metrics": metrics}
    torch.save(found, f"{out}.{trainer.global_rank}")


@pytest.mark.skipif(sys.platform == "win32", reason="gloo and ddp are run on Linux and macOS")
def test_two_processes_equal_one(tmp_path, run_file):
    for devices in (1, 2):
        run_file(__file__, devices, tmp_path / str(devices))
    one, *two = (torch.load(tmp_path / name, weights_only=True) for name in ("1.0", "2.0", "2.1"))
    for rank in two:
        for answers, expected in one.items():
            for name, value in expected["weights"].items():
                torch.testing.assert_close(
                    rank[answers]["weights"][name], value, atol=1e-5, rtol=1e-4, msg=f"{answers} {name}"
                )
            found = rank[answers]["metrics"]
            assert {k: v for k, v in found.items() if "step" not in k} == pytest.approx(
                {k: v for k, v in expected["metrics"].items() if "step" not in k}, abs=1e-4
            ), answers
