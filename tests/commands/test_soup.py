import csv
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.merging import Evaluator, average, read_models


def rows(path):
    return list(csv.DictReader(path.read_text().splitlines()))


@pytest.mark.parametrize("how", ["uniform", "greedy"])
def test_averages_the_chosen_and_loads_like_any_other(checkpoints, trainer, data, how, capsys):
    main(["soup", f"--ckpt_paths=[{','.join(checkpoints)}]", f"--how={how}", "--out=made/soup.ckpt"])
    assert {path.name for path in Path("made").iterdir()} == {"soup.ckpt", "soup.csv"}
    table = rows(Path("made/soup.csv"))
    kept = [row["name"] for row in table if row["kept"] == "True"]
    assert how == "greedy" or sorted(kept) == checkpoints
    module = FinetuneModule.load_from_checkpoint("made/soup.ckpt")
    models = read_models(checkpoints)
    expected = average([models[name] for name in kept])
    if len(kept) > 1:
        expected = Evaluator(checkpoints[0]).with_batch_norm(expected)
    for name, tensor in expected.items():
        assert torch.equal(module.state_dict()[name], tensor), name
    run = trainer()
    alone = {
        path: run.validate(FinetuneModule.load_from_checkpoint(path), data, verbose=False)[0]["val/accuracy"]
        for path in checkpoints
    }
    assert {row["name"]: float(row["alone"]) for row in table} == alone
    reached = run.validate(module, data, verbose=False)[0]["val/accuracy"]
    assert reached == max(float(row["soup"]) for row in table if row["kept"] == "True")
    assert how == "uniform" or reached >= max(alone.values())
    main(["test", "--ckpt_path=made/soup.ckpt", "--trainer.enable_progress_bar=false"])
    assert "test/accuracy" in capsys.readouterr().out


def test_looks_at_no_test_image(checkpoints, monkeypatch):
    monkeypatch.setattr("lightning_transfer.data.ImageData.test_dataloader", lambda _: pytest.fail("looked"))
    main(["soup", f"--ckpt_paths=[{checkpoints[0]},{checkpoints[2]}]"])
    assert list(Path().glob("soup_*/soup.ckpt"))


def test_a_soup_of_one_is_that_model(checkpoints):
    main(["soup", f"--ckpt_paths=[{checkpoints[2]}]", "--out=one.ckpt"])
    one, model = FinetuneModule.load_from_checkpoint("one.ckpt"), FinetuneModule.load_from_checkpoint(checkpoints[2])
    assert all(torch.equal(one.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    size = [Path(path).stat().st_size for path in ("one.ckpt", checkpoints[2])]
    assert size[0] < size[1]  # the optimiser's momentum is gone


def test_complaints(checkpoints, complaint, trainer):
    run = trainer(max_steps=1)
    batch = ImageBatch(torch.rand(4, 3, 32, 32), torch.arange(4))
    run.fit(FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4), DataLoader([batch], batch_size=None))
    run.save_checkpoint("alone.ckpt")
    assert "no checkpoint to merge" in complaint("soup", "--ckpt_paths=[]")
    assert "was not trained on a datamodule of images" in complaint("soup", "--ckpt_paths=[alone.ckpt]")
    assert "alone.ckpt knows other classes" in complaint("soup", f"--ckpt_paths=[{checkpoints[0]},alone.ckpt]")
    main(
        [
            "soup",
            "--ckpt_paths=[alone.ckpt]",
            "--data=FakeData",
            "--data.image_size=32",
            "--data.num_workers=0",
            "--out=x.ckpt",
        ]
    )
    Path("torn.ckpt").write_bytes(b"PK")
    assert "cannot be read as a checkpoint" in complaint("soup", "--ckpt_paths=[torn.ckpt]")
