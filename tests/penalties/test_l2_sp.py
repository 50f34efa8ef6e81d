from functools import partial

import pytest
import torch
from lightning.pytorch import Callback
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.edits import FreezeBackbone
from lightning_transfer.penalties import L2SP


def tiny():
    return nn.ModuleDict({"backbone": nn.Linear(3, 2), "head": nn.Linear(2, 2)})


def finetune(**options):
    optim = Optim(partial(SGD, lr=0.1, momentum=0.9), schedule=None)
    return FinetuneModule(TimmBackbone("test_convnext", pretrained=False), 4, optim, **options)


def batches(number=2):
    generator = torch.Generator().manual_seed(1)
    made = [ImageBatch(torch.rand(8, 3, 32, 32, generator=generator), torch.arange(8) % 4) for _ in range(number)]
    return DataLoader(made, batch_size=None)


def moved(module):
    """Away from the start, where the penalty is zero."""
    with torch.no_grad():
        for parameter in module.model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return module


def test_equals_the_squared_distances_and_pulls_towards_the_start():
    model, penalty = tiny(), L2SP(alpha=0.3, beta=0.2)
    penalty.remember(model)
    start = {name: p.detach().clone() for name, p in model.named_parameters()}
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    drift = torch.cat([(p - start[n]).flatten() for n, p in model.named_parameters() if n.startswith("backbone")])
    size = torch.cat([p.flatten() for p in model["head"].parameters()])
    cost = penalty(model)
    torch.testing.assert_close(cost, 0.15 * drift.dot(drift) + 0.1 * size.dot(size))
    cost.backward()
    torch.testing.assert_close(
        model["backbone"].weight.grad, 0.3 * (model["backbone"].weight - start["backbone.weight"])
    )
    torch.testing.assert_close(model["head"].bias.grad, 0.2 * model["head"].bias)


def test_leaves_frozen_parameters_out():
    model, penalty = tiny(), L2SP(alpha=1, beta=2)
    model["backbone"].bias.requires_grad_(False)
    penalty.remember(model)
    assert list(penalty.state_dict()) == ["source/backbone/weight"]
    nn.init.constant_(model["backbone"].bias, 100)
    model["head"].weight.requires_grad_(False)
    torch.testing.assert_close(penalty(model), model["head"].bias.square().sum())
    model.requires_grad_(False)
    assert penalty(model) == 0


def test_is_finite_in_half_precision():
    model, penalty = tiny().bfloat16(), L2SP()
    penalty.remember(model)
    assert penalty(model).dtype == torch.float32
    assert penalty(model).isfinite()


def test_counts_in_training_alone(trainer):
    penalised, plain = moved(finetune(penalties=[L2SP(0.5, 0.1)])), finetune()
    plain.model.load_state_dict(penalised.model.state_dict())
    cost = penalised.penalties[0](penalised.model).item()
    assert cost > 0.1
    runs = {}
    for module in (penalised, plain):
        run = trainer(max_steps=1)
        validated = run.validate(module, batches(1), verbose=False)[0]["val/loss"]
        run.fit(module, batches(1))
        runs[module] = validated, {name: value.item() for name, value in run.callback_metrics.items()}
    assert runs[penalised][0] == runs[plain][0]
    trained = runs[penalised][1]
    assert trained["train/l2sp"] == pytest.approx(cost)
    assert trained["train/loss"] - cost == pytest.approx(runs[plain][1]["train/loss"], abs=1e-5)
    assert "train/l2sp" not in runs[plain][1]


class KeepFirst(Callback):
    def on_train_epoch_end(self, trainer, module):
        if trainer.current_epoch == 0:
            trainer.save_checkpoint("first.ckpt")


def test_the_start_survives_resuming_and_loading(trainer):
    whole = finetune(penalties=[L2SP(0.5)])
    start = {name: tensor.clone() for name, tensor in whole.model.backbone.state_dict().items()}
    trainer(max_epochs=2, callbacks=[KeepFirst()]).fit(whole, batches())
    torch.manual_seed(7)  # another random start, which the checkpoint's must replace
    resumed = finetune(penalties=[L2SP(0.5)])
    run = trainer(max_epochs=2)
    run.fit(resumed, batches(), ckpt_path="first.ckpt", weights_only=True)
    run.save_checkpoint("second.ckpt")
    loaded = FinetuneModule.load_from_checkpoint("second.ckpt")
    for module in (resumed, loaded):
        for name, tensor in whole.state_dict().items():
            assert torch.equal(module.state_dict()[name], tensor), name
        moved = False
        for name, parameter in module.model.backbone.named_parameters():
            kept = module.penalties[0].state_dict()[f"source/backbone/{name.replace('.', '/')}"]
            assert torch.equal(kept, start[name])
            moved |= not torch.equal(kept, parameter)
        assert moved
    assert loaded.penalties[0].init_args == {"alpha": 0.5, "beta": 0.01}


def test_the_start_follows_the_device_and_is_not_optimised():
    module = finetune(penalties=[L2SP()])
    assert {buffer.device.type for buffer in module.to("meta").penalties.buffers()} == {"meta"}
    assert not list(module.penalties.parameters())


def test_a_probe_remembers_no_backbone(trainer):
    module = finetune(penalties=[L2SP()], edits=[FreezeBackbone()])
    assert not list(module.penalties.buffers())
    trainer(max_steps=1).fit(module, batches(1))


def test_complaints():
    with pytest.raises(ValueError, match="alpha=-1 must be at least 0"):
        L2SP(alpha=-1)
    with pytest.raises(ValueError, match="beta=nan must be at least 0"):
        L2SP(beta=float("nan"))
    with pytest.raises(ValueError, match="found no backbone in Linear"):
        L2SP().remember(nn.Linear(2, 2))
    with pytest.raises(ValueError, match="name one class twice"):
        finetune(penalties=[L2SP(), L2SP()])
    model, penalty = tiny(), L2SP()
    model["backbone"].requires_grad_(False)
    penalty.remember(model)
    model["backbone"].requires_grad_(True)
    with pytest.raises(ValueError, match=r"where 'backbone.weight' started from.*remember\(model\)"):
        penalty(model)
    penalty.remember(model)
    assert penalty(model) > 0
