from functools import partial

import pytest
import torch
from torch.optim import Adam
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.contracts import ImageBatch


@pytest.fixture
def adapted():
    """Makes a module with edits, and its twin without."""

    def make(name, *edits, **options):
        state = {
            key: v.clone() for key, v in TimmBackbone(name, pretrained=False, options=options).state_dict().items()
        }
        for key, value in state.items():  # as of a source: no branch scaled to zero, statistics far from a batch's
            if key.endswith(("bias", "running_mean")):
                value.normal_(std=0.1)
            elif value.ndim == 1:
                value.uniform_(0.5, 1.5)
        twins = []
        for given in (list(edits), []):
            backbone = TimmBackbone(name, pretrained=False, options=options)
            backbone.load_state_dict(state)
            optim = Optim(partial(Adam, lr=0.01), schedule=None)
            twins.append(FinetuneModule(backbone, 4, optim, edits=given, image_size=32))
        with torch.no_grad():
            head = torch.randn_like(twins[1].model.head.weight)
            for twin in twins:
                getattr(twin.model.head, "base", twin.model.head).weight.copy_(head)
        return twins

    return make


@pytest.fixture
def moved(trainer):
    """Names of the tensors that two steps of training change."""

    def steps(module):
        before = {name: value.clone() for name, value in module.state_dict().items()}
        batches = [ImageBatch(torch.rand(4, 3, 32, 32), torch.arange(4))] * 2
        trainer(max_steps=2).fit(module, DataLoader(batches, batch_size=None))
        return {name for name, value in module.state_dict().items() if not torch.equal(value, before[name])}

    return steps


@pytest.fixture
def trained():
    """Names of the parameters that train."""

    def names(module):
        return {name for name, parameter in module.named_parameters() if parameter.requires_grad}

    return names
