import csv
import math
from functools import partial
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, LightningModule
from lightning.pytorch.callbacks import LearningRateFinder
from PIL import Image
from torch import nn
from torch.optim import SGD, AdamW
from torch.optim.lr_scheduler import ReduceLROnPlateau
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.callbacks import Phases, RateFinder
from lightning_transfer.callbacks.rate_finder import steepest
from lightning_transfer.data import FakeData
from lightning_transfer.optim import ParamGroups


class LeastSquares(LightningModule):
    """Curvatures between L/10 and L: gradient descent diverges above a rate of 2 / L."""

    def __init__(self, curvature, plateau=False):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(10))
        self.register_buffer("curvature", curvature * torch.linspace(0.1, 1, 10))
        self.plateau = plateau

    def training_step(self, batch, batch_idx):
        return (self.curvature * self.weight**2).sum() / 2

    def validation_step(self, batch, batch_idx):
        raise AssertionError("no validation runs")

    def configure_optimizers(self):
        optimizer = SGD(self.parameters(), lr=0.1)
        if not self.plateau:
            return optimizer
        schedule = ReduceLROnPlateau(optimizer, patience=0)
        return {
            "optimizer": optimizer,
            "lr_scheduler": {"scheduler": schedule, "monitor": "val/loss", "interval": "epoch"},
        }


class Rates(Callback):
    def __init__(self):
        self.steps = []

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        self.steps.append({group.get("name", 0): group["lr"] for group in optimizer.param_groups})


def batches(number=20):
    return DataLoader(torch.zeros(number, 1))


def rows():
    with Path("rates.csv").open() as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.parametrize("curvature", [1.0, 30.0, 1000.0])
def test_least_squares_diverges_at_the_known_rate_and_the_suggestion_lies_below(trainer, curvature):
    finder, limit = RateFinder(low=1e-6, high=100, steps=200, smoothing=0), 2 / curvature
    trainer(max_epochs=1, callbacks=[finder]).fit(LeastSquares(curvature), batches(), batches())
    losses = [(row["rate"], row["loss"]) for row in rows()]
    rates, least = [rate for rate, _ in losses], min(losses, key=lambda row: row[1])
    growing = [b > a for (_, a), (_, b) in pairwise(losses)]
    assert not any(up for up, rate in zip(growing, rates, strict=False) if rate < limit)  # below, every step descends
    assert limit < rates[-1] < 10 * limit  # it stopped soon after
    assert limit / 100 < finder.suggestion < limit
    assert finder.suggestion < least[0]


def test_rates_grow_exponentially_and_the_average_is_corrected_for_its_start(trainer):
    finder, record = RateFinder(low=1e-5, high=1e-2, steps=31, smoothing=0.8), Rates()
    trainer(max_epochs=1, callbacks=[record, finder]).fit(LeastSquares(1.0), batches(7))
    expected = [1e-5 * 10 ** (3 * i / 30) for i in range(31)]  # over epochs, and beyond max_epochs
    assert [step[0] for step in record.steps] == pytest.approx(expected)
    assert [row["rate"] for row in rows()] == pytest.approx(expected)
    losses = [row["loss"] for row in rows()]
    weights = [[0.8 ** (i - j) for j in range(i + 1)] for i in range(31)]
    means = [sum(w * x for w, x in zip(ws, losses, strict=False)) / sum(ws) for ws in weights]
    assert [row["smoothed"] for row in rows()] == pytest.approx(means)


def module(schedule=True, **groups):
    options = {} if schedule else {"schedule": None}
    optim = Optim(partial(AdamW, lr=0.003), groups=ParamGroups(**groups), **options)
    return FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, optim)


def data(**options):
    return FakeData(image_size=32, batch_size=8, num_workers=0, **options)


@pytest.mark.parametrize("schedule", [True, False])
def test_groups_keep_their_ratios(trainer, schedule):
    tuned, record = module(schedule, head_multiplier=10, layer_decay=0.5), Rates()
    plain = {
        g["name"]: g.get("initial_lr", g["lr"]) / 0.003
        for g in tuned.optim.build(tuned.model, 100)["optimizer"].param_groups
    }
    trainer(max_epochs=1, callbacks=[RateFinder(steps=12), record]).fit(tuned, data())
    assert len(set(plain.values())) > 3
    for step, row in zip(record.steps, rows(), strict=True):
        assert {name: rate / row["rate"] for name, rate in step.items()} == pytest.approx(plain)


@pytest.mark.filterwarnings("ignore:`weights_only` was not set")
@pytest.mark.filterwarnings("ignore:Be aware that when using `ckpt_path`, callbacks used")
def test_lightnings_finder_makes_the_rates_of_all_groups_equal(trainer):
    tuned, record = module(schedule=False, head_multiplier=10), Rates()
    tuned.lr = 0.003
    trainer(max_epochs=10, callbacks=[LearningRateFinder(num_training_steps=40), record]).fit(tuned, data())
    assert len(record.steps[0]) > 1
    assert len(set(record.steps[0].values())) == 1


def test_a_plateau_schedule_that_waits_for_validation_does_not_disturb(trainer):
    finder, record = RateFinder(steps=30, high=0.1), Rates()
    trainer(max_epochs=1, callbacks=[finder, record]).fit(LeastSquares(1.0, plateau=True), batches(5), batches())
    assert [step[0] for step in record.steps] == pytest.approx([row["rate"] for row in rows()])
    assert len(record.steps) == 30


def test_steps_count_where_gradients_are_accumulated_and_phases_scale(trainer):
    record = Rates()
    callbacks = [RateFinder(steps=10), Phases("lp_ft", length=100), record]
    trainer(max_epochs=1, accumulate_grad_batches=3, callbacks=callbacks).fit(module(head_multiplier=10), data())
    assert len(rows()) == len(record.steps) == 10
    for step, row in zip(record.steps, rows(), strict=True):
        assert step == pytest.approx({name: 10 * row["rate"] if "head" in name else 0 for name in step})


def test_stops_where_the_loss_is_not_finite(trainer):
    class Explodes(LeastSquares):
        def training_step(self, batch, batch_idx):
            return super().training_step(batch, batch_idx) * (math.nan if self.trainer.global_step == 20 else 1)

    finder = RateFinder(low=1e-3, high=0.1, steps=50)
    trainer(max_epochs=1, callbacks=[finder]).fit(Explodes(1.0), batches())
    assert len(rows()) == 20
    assert finder.suggestion is not None


def test_says_so_if_no_rate_helps(trainer, caplog):
    class Constant(LeastSquares):
        def training_step(self, batch, batch_idx):
            return 1 + 0 * self.weight.sum()

    finder = RateFinder(steps=20)
    trainer(max_epochs=1, callbacks=[finder]).fit(Constant(1.0), batches())
    assert finder.suggestion is None
    assert "no rate from 1e-06 to 1 lowers the loss" in caplog.text


def test_suggests_where_the_loss_falls_fastest_before_it_is_least():
    logistic = [1 / (1 + math.exp((i - 50) / 5)) for i in range(100)]  # over the logarithm of the rate
    assert steepest(logistic) == 50
    assert steepest([*logistic[:80], 9, 1, 9]) == 50  # falling from where it diverged does not count
    assert steepest([5.0] * 20) is steepest([float(i) for i in range(20)]) is steepest([]) is None


@pytest.mark.parametrize("way", [["--config=find_rate"], ["--trainer.callbacks+=RateFinder"]])
def test_works_from_the_command_line(caplog, way):
    arguments = [
        "--model=FinetuneModule", "--model.backbone=TimmBackbone", "--model.backbone.name=test_resnet",
        "--model.backbone.pretrained=false", "--data=FakeData", "--data.image_size=32", "--data.num_workers=0",
        "--trainer.enable_progress_bar=false", "--trainer.enable_model_summary=false",
    ]  # fmt: skip
    main(["fit", *arguments, *way, "--trainer.callbacks.steps=40"])
    (plot,) = Path("runs").rglob("rates.png")
    Image.open(plot).verify()
    assert plot.with_name("rates.csv").is_file()
    assert not list(Path("runs").rglob("*.ckpt"))
    (flag,) = [line for line in caplog.messages if line.startswith("suggested rate")]
    main(["fit", *arguments, *flag.partition(": ")[2].split(), "--config=smoke", "--trainer.default_root_dir=next"])
    trained = torch.load("next/best.ckpt", weights_only=True)["optimizer_states"][0]["param_groups"][0]
    assert trained["initial_lr"] == pytest.approx(float(flag.rpartition(" ")[2]), rel=0.01)


@pytest.mark.parametrize("options", [{"low": 0}, {"low": 1, "high": 0.1}, {"steps": 5}, {"smoothing": 1}])
def test_values_out_of_range_get_a_sentence(options):
    with pytest.raises(ValueError, match="of RateFinder"):
        RateFinder(**options)
