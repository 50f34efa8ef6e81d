"""Two processes train as one across an unfreeze, and stay equal to each other bit for bit."""

from functools import partial
from pathlib import Path

import torch
from ranks import quiet_trainer
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.callbacks import Phases
from lightning_transfer.data import FakeData


def run(devices: int, out: Path) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    # layer norms: batch norm over half a batch is another function
    module = FinetuneModule(TimmBackbone("test_convnext", pretrained=False), 4, Optim(partial(SGD, lr=0.05)))
    data = FakeData(image_size=32, batch_size=12 // devices, num_workers=0, images_per_class=20, labels_per_class=12)
    trainer = quiet_trainer(devices, 3, callbacks=[Phases("gradual")])
    before = {k: v.clone() for k, v in module.state_dict().items()}
    trainer.fit(module, data)
    moved = [k for k, v in module.state_dict().items() if not torch.equal(v, before[k])]
    torch.save({"weights": module.state_dict(), "moved": moved}, out / f"{devices}_{trainer.global_rank}.pt")


def test_ranks_are_bit_equal_after_an_unfreeze_and_equal_to_one_process(tmp_path, run_file):
    for devices in (1, 2):
        run_file(__file__, devices, tmp_path)
    one, first, second = (torch.load(tmp_path / f"{n}.pt", weights_only=True) for n in ("1_0", "2_0", "2_1"))
    parts = {".".join(name.split(".")[3:5]) for name in first["moved"] if "backbone" in name}
    assert parts == {"head.norm", "stages.3"}  # after two unfreezings
    for name, value in first["weights"].items():
        assert torch.equal(second["weights"][name], value), name
        torch.testing.assert_close(one["weights"][name], value, rtol=1e-4, atol=1e-5, msg=name)
