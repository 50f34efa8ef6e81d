from functools import partial

import pytest
from torch import nn
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.callbacks import GlobalBatch
from lightning_transfer.data import FakeData
from lightning_transfer.optim import ParamGroups


def rates(scaling, images, groups=None):
    model = nn.ModuleDict({"body": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    optim = Optim(partial(SGD, lr=0.4), schedule=None, groups=groups, scaling=scaling)
    return sorted({group["lr"] for group in optim.build(model, 10, images)["optimizer"].param_groups})


@pytest.mark.parametrize(("scaling", "images", "rate"), [("linear", 64, 0.1), ("root", 64, 0.2), ("none", 64, 0.4)])
def test_rates_grow_with_the_images_of_a_step(scaling, images, rate):
    assert rates(scaling, images) == pytest.approx([rate])
    assert rates(scaling, 256) == [0.4]


def test_the_heads_factor_multiplies():
    assert rates("linear", 64, ParamGroups(head_multiplier=10)) == pytest.approx([0.1, 1.0])


@pytest.mark.parametrize(
    ("options", "images"),
    [({}, 4), ({"accumulate_grad_batches": 2}, 8), ({"callbacks": [GlobalBatch(16)]}, 16)],
)
def test_accumulated_batches_count(trainer, options, images):
    optim = Optim(partial(SGD, lr=0.256), schedule=None, scaling="linear")
    run = trainer(max_epochs=1, limit_val_batches=0, **options)
    run.fit(
        FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, optim),
        FakeData(image_size=32, batch_size=4, num_workers=0),
    )
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.001 * images)


def test_refuses():
    with pytest.raises(ValueError, match="scaling='square' must be one of none, linear, root"):
        rates("square", 4)
    with pytest.raises(ValueError, match="scaling=linear needs to know how many images a step has"):
        rates("linear", None)
