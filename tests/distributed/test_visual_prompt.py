"""A prompt with a mapping that counts: two processes at half the batch size equal one; by asking alone they at least agree."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything
from ranks import quiet_trainer
from torch.optim import SGD

from lightning_transfer import Optim, VisualPromptModule
from lightning_transfer.data import FakeData
from lightning_transfer.mappings import IterativeMapping
from lightning_transfer.models import SourceModel
from lightning_transfer.optim import SPSA
from lightning_transfer.prompts import PaddingPrompt


def run(devices: int, out: Path, asking: bool) -> None:
    seed_everything(0, verbose=False)
    torch.set_num_threads(1)
    source = SourceModel("test_resnet", pretrained=False, options={"num_classes": 20})
    torch.nn.init.normal_(source.model.get_classifier().weight, std=0.5)
    optim = Optim(partial(SGD, lr=0.5))
    module = VisualPromptModule(
        source, PaddingPrompt(6), 4, IterativeMapping(), optim, gradient=SPSA() if asking else None, image_size=32
    )
    data = FakeData(image_size=32, batch_size=12 // devices, num_workers=0, images_per_class=20, labels_per_class=12)
    trainer = quiet_trainer(devices, 2, num_sanity_val_steps=0)
    trainer.fit(module, data)
    torch.save(module.state_dict(), f"{out}.{trainer.global_rank}")


@pytest.mark.parametrize("asking", [False, True])
@pytest.mark.skipif(sys.platform == "win32", reason="gloo and ddp are run on Linux and macOS")
def test_two_processes_equal_one(asking, tmp_path, run_file):
    for devices in (2,) if asking else (1, 2):
        run_file(__file__, devices, tmp_path / str(devices), asking)
    first, second = (torch.load(tmp_path / name, weights_only=True) for name in ("2.0", "2.1"))
    torch.testing.assert_close(second, first, rtol=0, atol=0)
    assert first["model.prompt.values"].any()
    if not asking:
        one = torch.load(tmp_path / "1.0", weights_only=True)
        torch.testing.assert_close(first, one, rtol=1e-4, atol=1e-5)
