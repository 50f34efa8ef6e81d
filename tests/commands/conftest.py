from functools import partial

import pytest
import torch
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.data import FakeData


@pytest.fixture
def data():
    return FakeData(image_size=32, num_workers=0, val_fraction=0.4, batch_size=8)


@pytest.fixture
def checkpoints(trainer, data):
    """Three models trained from one start on the same data at different rates, `0.ckpt` to `2.ckpt`."""
    paths = []
    for i, rate in enumerate((0.0, 0.01, 0.05)):
        torch.manual_seed(0)
        optim = Optim(partial(SGD, lr=rate, momentum=0.9), schedule=None)
        module = FinetuneModule(
            TimmBackbone("test_resnet", pretrained=False), 4, optim, class_names=data.class_names, image_size=32
        )
        run = trainer(max_epochs=3, limit_val_batches=0)
        run.fit(module, data)
        paths.append(f"{i}.ckpt")
        run.save_checkpoint(paths[-1])
    return paths
