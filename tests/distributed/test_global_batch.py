"""Two processes that accumulate train as one on whole batches, and with a cache of frozen layers as without it."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Trainer
from ranks import quiet_trainer
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.callbacks import FrozenCache, GlobalBatch, Phase, Phases, RateFinder
from lightning_transfer.data import EvalTransform, FakeData


def fit(module: FinetuneModule, devices: int, batch_size: int, epochs: int, *callbacks) -> Trainer:
    data = FakeData(
        image_size=32, batch_size=batch_size, num_workers=0, images_per_class=40, labels_per_class=26,
        train_transform=EvalTransform,
    )  # fmt: skip
    trainer = quiet_trainer(devices, epochs, callbacks=list(callbacks))
    trainer.fit(module, data)
    return trainer


def run(devices: int, batch_size: int, out: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    # layer norms: batch norm over half a batch is another function
    module = FinetuneModule(TimmBackbone("test_convnext", pretrained=False), 4, Optim(partial(SGD, lr=0.05)))
    trainer = fit(module, devices, batch_size, 2, GlobalBatch(32))
    results = {"whole": module.state_dict(), "steps": trainer.global_step}
    counts: list[int] = []
    for cache in ([], [FrozenCache()]) if devices > 1 else ():
        torch.manual_seed(0)
        module = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, Optim(partial(SGD, lr=0.05)))
        inside = module.model.backbone.model.layer1[0].conv1
        inside.register_forward_hook(lambda *_: counts.append(1))
        phases = Phases([Phase("backbone", "freeze"), Phase("stage -1", start=9)])
        fit(module, devices, batch_size, 11, *cache, phases)
        name = "cached" if cache else "plain"
        results |= {name: module.state_dict(), f"{name}_runs": len(counts)}
        counts.clear()
    finder = RateFinder(steps=12)
    fit(copy.deepcopy(module), devices, batch_size, 1, finder)
    results["rates"] = finder.rows
    torch.save(results, out / f"{devices}_{trainer.global_rank}.pt")


@pytest.fixture(scope="module")
def results(tmp_path_factory, run_file):
    folder = tmp_path_factory.mktemp("ranks")
    for devices, batch_size in ((1, 32), (2, 8)):
        run_file(__file__, devices, batch_size, folder)
    return [torch.load(folder / f"{name}.pt", weights_only=True) for name in ("1_0", "2_0", "2_1")]


def test_two_processes_that_accumulate_equal_one_on_whole_batches(results):
    one, first, second = results
    assert one["steps"] == first["steps"] == 2 * (104 // 32)
    for name, value in first["whole"].items():
        assert torch.equal(second["whole"][name], value), name
        torch.testing.assert_close(one["whole"][name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_each_process_keeps_frozen_outputs_of_its_own(results):
    _, first, second = results
    for result in (first, second):
        for name, value in result["cached"].items():
            assert torch.equal(result["plain"][name], value), name
        assert (
            result["cached_runs"] < result["plain_runs"]
        )  # a process rarely has all images of a batch in the first epochs
    for name, value in first["cached"].items():
        if "running" not in name and "batches" not in name:  # statistics of what trains are each process's own
            assert torch.equal(second["cached"][name], value), name


def test_processes_agree_on_the_losses_of_a_rate_search(results):
    _, first, second = results
    assert first["rates"] == second["rates"]
    assert len(first["rates"]) == 12
