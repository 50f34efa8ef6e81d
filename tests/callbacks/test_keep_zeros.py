from functools import partial

import pytest
import torch
from torch.optim import SGD, AdamW

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.callbacks import EMA, GradualPruning, KeepZeros
from lightning_transfer.compression.layers import choose_layers
from lightning_transfer.data import FakeData

ADAMW = partial(AdamW, lr=0.01, weight_decay=0.1)


def make(optimizer=ADAMW, pruned=True, **options):
    torch.manual_seed(0)
    module = FinetuneModule(
        TimmBackbone("test_resnet", pretrained=False), 4, Optim(optimizer, schedule=None), **options
    )
    if pruned:
        with torch.no_grad():
            for layer in choose_layers(module.model, []).layers.values():
                layer.weight *= torch.rand_like(layer.weight) < 0.5
    return module


def fit(trainer, module, callback, *more, epochs=2, **options):
    data = FakeData(image_size=32, num_workers=0, batch_size=8)
    run = trainer(max_epochs=epochs, callbacks=[callback, *more], limit_val_batches=0, **options)
    run.fit(module, data)
    return run


def zeros_of(module):
    return {name: layer.weight == 0 for name, layer in choose_layers(module.model, []).layers.items()}


@pytest.mark.parametrize(
    "optimizer",
    [ADAMW, partial(SGD, lr=0.1, momentum=0.9, weight_decay=0.01)],
    ids=["adamw", "sgd"],
)
def test_zeros_stay_and_everything_else_trains(trainer, optimizer):
    module = make(optimizer)
    before, zeros = {k: v.clone() for k, v in module.state_dict().items()}, zeros_of(module)
    run = fit(trainer, module, KeepZeros(), EMA(0.5))
    for name, was in zeros.items():
        now = module.model.get_submodule(name).weight == 0
        assert torch.equal(now, was)
    assert not torch.equal(module.model.head.bias, before["model.head.bias"])
    assert run.callback_metrics["train/sparsity"] == pytest.approx(0.5, abs=0.01)
    assert not run.optimizers[0]._optimizer_step_post_hooks


def test_without_it_they_come_back(trainer):
    module = make()
    before, _ = zeros_of(module), fit(trainer, module, EMA(0.5), epochs=1)
    left = [(zeros_of(module)[name].sum() / zeros.sum()).item() for name, zeros in before.items()]
    assert left[0] < 0.1  # later layers have inputs that are always zero, padding among them


def test_gradients_of_zeros_do_not_count_where_gradients_are_clipped(trainer):
    module, norms = make(partial(SGD, lr=0.0)), []

    class Norm(KeepZeros):
        def on_before_optimizer_step(self, trainer, pl_module, optimizer):
            super().on_before_optimizer_step(trainer, pl_module, optimizer)
            norms.append([pl_module.get_parameter(n).grad[z].abs().max().item() for n, z in self.zeros.items()])

    fit(trainer, module, Norm(), epochs=1)
    assert norms
    assert all(value == 0 for each in norms for value in each)


def test_the_schedule_is_cubic_and_ends_where_it_should(trainer):
    module, shares = make(pruned=False), []

    class Watched(GradualPruning):
        def prune(self, pl_module, sparsity):
            super().prune(pl_module, sparsity)
            found = zeros_of(pl_module).values()
            shares.append((sparsity, sum(z.sum().item() for z in found) / sum(z.numel() for z in found)))

    run = fit(trainer, module, Watched(0.8, end=0.5, every=2), epochs=4)
    last = round(0.5 * run.global_step)
    steps = sorted({*range(0, last + 1, 2), last})
    assert [wanted for wanted, _ in shares] == pytest.approx([0.8 * (1 - (1 - t / last) ** 3) for t in steps])
    assert all(found == pytest.approx(wanted, abs=1e-4) for wanted, found in shares)
    zeros = zeros_of(module).values()
    assert sum(z.sum().item() for z in zeros) == round(0.8 * sum(z.numel() for z in zeros))


@pytest.mark.parametrize("kind", [KeepZeros, partial(GradualPruning, 0.8, every=1)], ids=["keep", "gradual"])
def test_resumed_equals_uninterrupted(trainer, kind, halt_after):
    pruned = isinstance(kind, type)
    whole = make(pruned=pruned)
    fit(trainer, whole, kind(), epochs=4)
    broken = make(pruned=pruned)
    fit(trainer, broken, kind(), halt_after(2), epochs=4).save_checkpoint("half.ckpt")
    resumed = make(pruned=False)
    data = FakeData(image_size=32, num_workers=0, batch_size=8)
    run = trainer(max_epochs=4, callbacks=[kind()], limit_val_batches=0)
    run.fit(resumed, data, ckpt_path="half.ckpt", weights_only=True)
    expected = whole.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in resumed.state_dict().items())


def test_complaints(trainer):
    with pytest.raises(ValueError, match="KeepZeros found no zero"):
        fit(trainer, make(pruned=False), KeepZeros(), epochs=1)
    for options, said in (
        ({"sparsity": 1.0}, "sparsity=1.0"), ({"end": 0}, "end=0"), ({"every": 0}, "every=0"), ({"across": "x"}, "across='x'"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=said):
            GradualPruning(**options)
