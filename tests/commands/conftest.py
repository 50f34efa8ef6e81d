import shutil
from functools import partial

import pytest
import torch
from lightning.pytorch import Trainer
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.data import FakeData

NAMES = ["0.ckpt", "1.ckpt", "2.ckpt"]


def fake():
    return FakeData(image_size=32, num_workers=0, val_fraction=0.4, batch_size=8)


@pytest.fixture
def data():
    return fake()


@pytest.fixture(scope="session")
def trained_once(tmp_path_factory):
    folder, data = tmp_path_factory.mktemp("checkpoints"), fake()
    quiet = dict.fromkeys(("logger", "enable_progress_bar", "enable_model_summary", "enable_checkpointing"), False)
    for name, rate in zip(NAMES, (0.0, 0.01, 0.05), strict=True):
        torch.manual_seed(0)
        optim = Optim(partial(SGD, lr=rate, momentum=0.9), schedule=None)
        module = FinetuneModule(
            TimmBackbone("test_resnet", pretrained=False), 4, optim, class_names=data.class_names, image_size=32
        )
        run = Trainer(max_epochs=3, limit_val_batches=0, default_root_dir=folder, accelerator="cpu", **quiet)
        run.fit(module, data)
        run.save_checkpoint(folder / name)
    return folder


@pytest.fixture
def checkpoints(trained_once):
    """Three models trained from one start on the same data at different rates, `0.ckpt` to `2.ckpt`."""
    return [shutil.copy(trained_once / name, name) for name in NAMES]
