from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.callbacks import Phase, Phases
from lightning_transfer.data import FakeData
from lightning_transfer.edits import FreezeBackbone
from lightning_transfer.optim import ParamGroups

MOMENTUM = partial(SGD, lr=0.01, momentum=0.9)


def module(name="test_resnet", optimizer=MOMENTUM, **options):
    groups = options.pop("groups", ParamGroups(by_stage=True))
    return FinetuneModule(TimmBackbone(name, pretrained=False), 4, Optim(optimizer, groups=groups), **options)


def data(**options):
    return FakeData(image_size=32, batch_size=8, num_workers=0, **options)


class Watch(Callback):
    """Which stages moved in each epoch, and the rates that the optimiser stepped with."""

    def __init__(self):
        self.moved, self.rates = [], []

    def on_train_epoch_start(self, trainer, module):
        self.before = {k: v.clone() for k, v in module.model.state_dict().items()}

    def on_before_optimizer_step(self, trainer, module, optimizer):
        self.rates.append({group["name"]: group["lr"] for group in optimizer.param_groups})

    def on_train_epoch_end(self, trainer, module):
        after = module.model.state_dict()
        changed = {k for k, v in after.items() if not torch.equal(v, self.before[k])}
        self.moved.append({k.split(".")[2 if k.startswith("backbone") else 0].replace("bn1", "conv1") for k in changed})


def watched(trainer, phases, epochs, **options):
    watch = Watch()
    trainer(max_epochs=epochs, callbacks=[phases, watch]).fit(module(**options), data())
    return watch


def test_gradual_adds_a_stage_with_each_epoch_from_the_last_down(trainer):
    watch = watched(trainer, Phases("gradual"), 7)
    parts = ["head", "layer4", "layer3", "layer2", "layer1", "conv1"]
    assert watch.moved == [set(parts[: i + 1]) for i in range(6)] + [set(parts)]  # statistics of norms included


def test_lp_ft_trains_the_head_for_half_of_the_training(trainer):
    assert [len(parts) for parts in watched(trainer, Phases("lp_ft"), 4).moved] == [1, 1, 6, 6]
    assert [len(parts) for parts in watched(trainer, Phases("lp_ft", length=3), 4).moved] == [1, 1, 1, 6]


def test_phases_can_count_steps(trainer):
    watch = watched(trainer, Phases([Phase("backbone", "freeze"), Phase("stage -1", start=8)], unit="step"), 2)
    assert watch.moved[0] == {"head"} | ({"layer4"} if len(watch.rates) // 2 > 8 else set())
    frozen = [rates["backbone/stage 4"] == 0 for rates in watch.rates]
    assert frozen == [True] * 8 + [False] * (len(frozen) - 8)


def test_rates_are_the_schedules_times_the_phases(trainer):
    class Stepwise(CosineAnnealingLR):
        """Computes each rate from the last one: a factor left in the group would compound."""

        def __init__(self, optimizer, total_steps):
            super().__init__(optimizer, total_steps)

    def run(*phases):
        watch = Watch()
        optim = Optim(partial(SGD, lr=0.01), Stepwise, ParamGroups(by_stage=True))
        tuned = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, optim)
        trainer(max_epochs=3, callbacks=[Phases([Phase("all"), *phases]), watch], accumulate_grad_batches=2).fit(
            tuned, data()
        )
        return watch.rates

    plain = run()
    slow = run(Phase("stage 0", start=1, rate=0.1), Phase("head", start=2, rate=2.0))
    steps = len(plain) // 3
    assert steps == 3
    for i, (a, b) in enumerate(zip(plain, slow, strict=True)):
        assert b["backbone/stage 0"] == pytest.approx(a["backbone/stage 0"] * (0.1 if i >= steps else 1))
        assert b["head"] == pytest.approx(a["head"] * (2 if i >= 2 * steps else 1))
        assert b["backbone/stage 3"] == a["backbone/stage 3"]


def test_frozen_norms_are_bit_equal_and_evaluate(trainer):
    tuned = module(optimizer=partial(AdamW, lr=0.01, weight_decay=0.5))
    before = {k: v.clone() for k, v in tuned.model.backbone.state_dict().items()}
    trainer(max_epochs=2, callbacks=[Phases([Phase("backbone", "freeze")])]).fit(tuned, data())
    for name, value in tuned.model.backbone.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_zero_initialised_twins_train_once_unfrozen(trainer):
    """Lightning's BaseFinetuning drops parameters that equal one already in the optimiser."""
    tuned = module("test_vit")
    zeros = [name for name, p in tuned.model.backbone.named_parameters() if not p.any()]
    assert len(zeros) > 10
    trainer(max_epochs=2, callbacks=[Phases("lp_ft", length=1)]).fit(tuned, data())
    still = [name for name, p in tuned.model.backbone.named_parameters() if name in zeros and not p.any()]
    assert not still


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize("stop", [1, 2, 3])
def test_resumed_equals_uninterrupted(trainer, halt_after, tmp_path, monkeypatch, stop):
    def run(name, epochs, ckpt=None):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed_everything(5)))
        saved = ModelCheckpoint(tmp_path / name, every_n_epochs=1)
        phases = Phases([Phase("backbone", "freeze"), Phase("stage -1", start=1, rate=0.5), Phase("all", start=2)])
        run = trainer(max_epochs=4, callbacks=[phases, halt_after(epochs), saved], enable_checkpointing=True)
        run.fit(module(optimizer=partial(AdamW, lr=0.01)), data(), ckpt_path=ckpt, weights_only=True)
        return saved.best_model_path, torch.load(saved.best_model_path, weights_only=True)

    _, whole = run("whole", 4)
    path, _ = run("part", stop)
    _, resumed = run("resumed", 4, path)
    assert resumed["lr_schedulers"] == whole["lr_schedulers"]
    assert [g["lr"] for g in resumed["optimizer_states"][0]["param_groups"]] == [
        g["lr"] for g in whole["optimizer_states"][0]["param_groups"]
    ]
    torch.testing.assert_close(resumed["state_dict"], whole["state_dict"], rtol=0, atol=0)
    states = [c["optimizer_states"][0]["state"] for c in (resumed, whole)]
    torch.testing.assert_close(*states, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("phases", "message"),
    [
        ([Phase("layer9", "freeze")], "phases: 'layer9' names no trainable parameter; there are backbone.model.conv1"),
        ([Phase("stage 5", "freeze")], "'stage 5' does not exist; the backbone has stages 0 to 4"),
        ([Phase("(", "freeze")], "is no regular expression"),
        ([Phase("all", "freeze")], "leave nothing to train from epoch 0"),
        ([Phase("conv1", rate=0.1)], "the rates .*; set optim.groups.by_stage=true"),
    ],
)
def test_complaints(trainer, phases, message):
    groups = ParamGroups()
    with pytest.raises(ValueError, match=message):
        trainer(max_epochs=1, callbacks=[Phases(phases)]).fit(module(groups=groups), data())


def test_values_out_of_range_get_a_sentence():
    with pytest.raises(ValueError, match="length=0"):
        Phases("gradual", length=0)
    with pytest.raises(ValueError, match="rate must be positive"):
        Phases([Phase("all", rate=0.0)])
    with pytest.raises(ValueError, match="length=3 is for gradual and lp_ft"):
        Phases([Phase("all")], length=3)


def test_what_an_edit_froze_is_no_phases_business(trainer):
    with pytest.raises(ValueError, match="names no trainable parameter"):
        trainer(max_epochs=1, callbacks=[Phases([Phase("layer4")])]).fit(module(edits=[FreezeBackbone()]), data())
