import csv
import json
from pathlib import Path

import pytest
import torch

from lightning_transfer import FinetuneModule
from lightning_transfer.__main__ import main
from lightning_transfer.commands.compress import compress
from lightning_transfer.compression import ExactOBS, Unstructured

FEW = {"targets": "layer3", "rounds": 1, "resamples": 20, "images": 16}
OBS = ["--compressions+=ExactOBS", "--compressions.pattern=Unstructured", "--compressions.pattern.sparsity=0.5"]


def halve(path, **options):
    return compress(path, [ExactOBS(Unstructured(0.5), max_columns=64)], **FEW, **options)


def state(path):
    return torch.load(path, weights_only=True)["state_dict"]


def test_a_compressed_checkpoint_goes_through_test_predict_and_export(checkpoints, capsys):
    few = [f"--{name}={value}" for name, value in FEW.items()]
    main(["compress", f"--ckpt_path={checkpoints[2]}", *few, *OBS, "--compressions.max_columns=64", "--out=half.ckpt"])
    assert "times as fast as dense" in capsys.readouterr().out
    for words in (["test"], ["predict", "--predictions.path=p.csv"]):
        main([*words, "--ckpt_path=half.ckpt", "--trainer.enable_progress_bar=false"])
    main(["export", "--ckpt_path=half.ckpt", "--format=torch", "--out=half.pt2", "--num_images=4"])
    report = json.loads(Path("half.json").read_text())
    rows = [*csv.DictReader(Path("half.csv").read_text().splitlines())]
    weights, tensors = FinetuneModule.load_from_checkpoint("half.ckpt").model.state_dict(), state(checkpoints[2])
    for row in rows:
        name = f"{row['name']}.weight"
        assert (weights[name] == 0).sum() == int(row["zeros"]) == int(row["weights"]) // 2
        assert 0 < float(row["error"]) < 1
    gone = sum(int(row["zeros"]) for row in rows)
    assert report["dense"]["nonzero"] - report["compressed"]["nonzero"] == pytest.approx(gone, abs=5)
    assert report["compressed"]["packed_bytes"] < report["dense"]["packed_bytes"]
    assert report["compressed"]["bytes"] == report["dense"]["bytes"]
    change = report["change"]["metrics"]["accuracy"]
    assert change["value"] == pytest.approx(
        report["compressed"]["metrics"]["accuracy"]["value"] - report["dense"]["metrics"]["accuracy"]["value"]
    )
    assert report["left_out"]["head"] == "not among the targets"
    assert torch.equal(weights["head.weight"], tensors["model.head.weight"])
    assert not Path("half.layers").exists()
    assert "optimizer_states" not in torch.load("half.ckpt", weights_only=True)


def test_batch_norm_is_corrected_unless_told_otherwise(checkpoints):
    halve(checkpoints[2], out="with.ckpt")
    halve(checkpoints[2], out="without.ckpt", recompute_batch_norm=False)
    before, corrected, plain = state(checkpoints[2]), state("with.ckpt"), state("without.ckpt")
    means = [name for name in before if name.endswith("running_mean")]
    assert all(torch.equal(before[name], plain[name]) for name in means)
    assert any(not torch.equal(before[name], corrected[name]) for name in means)
    weights = [name for name in before if name.endswith("weight")]
    assert all(torch.equal(plain[name], corrected[name]) for name in weights)


def test_a_run_that_was_broken_off_goes_on(checkpoints, monkeypatch):
    from lightning_transfer.compression import network

    halve(checkpoints[2], out="whole.ckpt")
    solve, calls = network._compress, []

    def failing(*arguments):
        calls.append(arguments[0])
        if len(calls) == 3:
            raise KeyboardInterrupt
        return solve(*arguments)

    monkeypatch.setattr(network, "_compress", failing)
    with pytest.raises(KeyboardInterrupt):
        halve(checkpoints[2], out="broken.ckpt")
    assert len([*Path("broken.layers").glob("*.safetensors")]) == 2
    halve(checkpoints[2], out="broken.ckpt")
    whole, resumed = state("whole.ckpt"), state("broken.ckpt")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


def test_complaints(checkpoints, complaint):
    flags = ["compress", f"--ckpt_path={checkpoints[0]}", "--out=no.ckpt"]
    assert "compressions=[] changes nothing" in complaint(*flags, "--compressions=[]")
    assert "out='x' must end in .ckpt" in complaint(*flags[:2], *OBS, "--out=x")
    assert "'none.ckpt' is no file" in complaint("compress", "--ckpt_path=none.ckpt", *OBS)
    assert "sparsity=2.0 is a share" in complaint(*flags, *OBS, "--compressions.pattern.sparsity=2")
    assert "names backbone.model.conv1" in complaint(
        *flags, "--compressions+=ExactOBS", "--compressions.pattern=NM", "--targets=conv1.0"
    )
    assert "has no test split" in complaint(*flags, *OBS, "--data=FakeData", "--data.test_fraction=0")
    assert not list(Path().rglob("no.*"))
