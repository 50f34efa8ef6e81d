"""Two processes count for one mapping: each sees half of the images, and both map as one process does."""

import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from ranks import quiet_trainer

from lightning_transfer.callbacks import RemapLabels
from lightning_transfer.mappings import BayesianMapping, IterativeMapping

MAPPINGS = {"iterative": IterativeMapping, "bayesian": partial(BayesianMapping, top_k=2)}


def run(devices: int, name: str, out: Path) -> None:
    sys.path.append(str(Path(__file__).parents[1] / "callbacks"))
    from test_remap_labels import Tiny, Watch, data, state

    torch.manual_seed(0)
    torch.set_num_threads(1)
    module, watch = Tiny(MAPPINGS[name](), rate=1.0), Watch()
    trainer = quiet_trainer(devices, 3, callbacks=[RemapLabels(), watch])
    trainer.fit(module, data(batch_size=12 // devices))
    found = {"first": watch.first, "ended": watch.ended, "prompt": module.model.prompt.data, "last": state(module)}
    torch.save(found | {"own": watch.epochs}, out / f"{devices}_{trainer.global_rank}.pt")


@pytest.mark.parametrize("name", MAPPINGS)
def test_two_processes_map_as_one(name, tmp_path, run_file):
    for devices in (1, 2):
        run_file(__file__, devices, name, tmp_path)
    one, first, second = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in ("1_0", "2_0", "2_1"))
    assert not torch.equal(first["own"][0], second["own"][0])  # they did not see the same
    for key in ("first", "ended", "prompt", "last"):
        torch.testing.assert_close(second[key], first[key], rtol=0, atol=0)
        torch.testing.assert_close(first[key], one[key], rtol=1e-4, atol=1e-5)
