import csv
import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_transfer import FinetuneModule
from lightning_transfer.__main__ import main
from lightning_transfer.commands.compress import compress
from lightning_transfer.compression import Bound, Budget, ExactOBS, Unstructured
from lightning_transfer.data import ClassSubsetData

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


def read(path):
    return json.loads(Path(path).read_text())


def test_layers_share_out_a_budget(checkpoints):
    few = [f"--{name}={value}" for name, value in FEW.items()]
    flags = ["--budget.price=macs", "--budget.sparsities=[0.2,0.5,0.8]", "--compressions.max_columns=64"]
    main(["compress", f"--ckpt_path={checkpoints[2]}", *few, *OBS, *flags, "--out=shared.ckpt"])
    report = read("shared.json")
    assert report["budget"] == {
        "price": "macs", "cost": "error", "sparsities": [0.2, 0.5, 0.8], "bits": None, "images": 256, "buckets": 10_000,
    }  # fmt: skip
    spent = report["spent"]
    assert spent["spent"] <= spent["limit"]
    assert spent["cost"] <= spent["cost_alike"]
    assert {round(row["zeros"] / row["weights"], 1) for row in report["layers"]} <= {0.2, 0.5, 0.8}
    assert not Path("shared.layers").exists()


def test_a_budget_that_was_broken_off_goes_on(checkpoints, monkeypatch):
    from lightning_transfer.compression import levels

    halve(checkpoints[2], out="whole.ckpt", budget=Budget())
    measure, calls = levels.in_all_ways, []

    def failing(*arguments):
        calls.append(arguments[1].name)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return measure(*arguments)

    monkeypatch.setattr(levels, "in_all_ways", failing)
    with pytest.raises(KeyboardInterrupt):
        halve(checkpoints[2], out="broken.ckpt", budget=Budget())
    halve(checkpoints[2], out="broken.ckpt", budget=Budget())
    assert len(calls) == len({*calls}) + 1  # the one that was broken off is looked at again
    whole, resumed = state("whole.ckpt"), state("broken.ckpt")
    assert all(torch.equal(tensor, resumed[name]) for name, tensor in whole.items())


@pytest.mark.parametrize("confident", [True, False])
def test_the_strongest_that_validation_allows_is_written(checkpoints, confident, monkeypatch):
    from lightning_transfer.reports import compression

    scored, score = [], compression.score
    monkeypatch.setattr(compression, "score", lambda *arguments: scored.append(arguments[0]) or score(*arguments))
    strengths = [0.1, 0.5, 0.9, 0.97, 0.99]
    bound = Bound(0.2, strengths, metric="nll", confident=confident)
    halve(checkpoints[2], out="bound.ckpt", bound=bound)
    report = read("bound.json")
    tried = {trial["strength"]: trial for trial in report["trials"]}
    assert len(tried) <= 3
    assert len(scored) == 1 + len(tried) + 2  # the dense network once a split
    for trial in tried.values():
        assert trial["allowed"] == (trial["drop"]["high" if confident else "value"] <= 0.2)
    best = max(strength for strength, trial in tried.items() if trial["allowed"])
    beyond = [strength for strength in strengths if strength > best]
    assert not beyond or not tried[beyond[0]]["allowed"]
    halve_at = compress(checkpoints[2], [ExactOBS(Unstructured(best), max_columns=64)], **FEW, out="alone.ckpt")
    alone, found = state(halve_at), state("bound.ckpt")
    assert all(torch.equal(tensor, found[name]) for name, tensor in alone.items())
    assert not Path("bound.layers").exists()


def test_fewer_bits_are_stronger(checkpoints):
    few = [f"--{name}={value}" for name, value in FEW.items()]
    flags = [
        "--compressions+=RoundToNearest",
        "--bound.max_drop=0.5",
        "--bound.strengths=[8,4,2]",
        "--bound.metric=accuracy",
    ]
    main(["compress", f"--ckpt_path={checkpoints[2]}", *few, *flags, "--out=bits.ckpt"])
    report = read("bits.json")
    allowed = [trial["strength"] for trial in report["trials"] if trial["allowed"]]
    assert {row["bits"] for row in report["layers"]} == {min(allowed)}
    assert report["bound"]["strengths"] == [8, 4, 2]


def test_a_network_for_some_of_the_classes(checkpoints):
    few = [f"--{name}={value}" for name, value in FEW.items()]
    main(["compress", f"--ckpt_path={checkpoints[2]}", *few, *OBS, "--classes=[class 3,1]", "--out=two.ckpt"])
    two, whole = (FinetuneModule.load_from_checkpoint(path) for path in ("two.ckpt", checkpoints[2]))
    assert two.class_names == ["class 1", "class 3"]
    assert torch.equal(two.model.head.weight, whole.model.head.weight[[1, 3]])
    data = ClassSubsetData.load_from_checkpoint("two.ckpt")
    assert data.class_names == two.class_names
    report = read("two.json")
    assert report["classes"] == ["class 3", 1]
    main(["test", "--ckpt_path=two.ckpt", "--trainer.default_root_dir=t", "--trainer.enable_progress_bar=false"])
    (row,) = csv.DictReader(Path("t/metrics.csv").read_text().splitlines())
    assert float(row["test/accuracy"]) == pytest.approx(report["compressed"]["metrics"]["accuracy"]["value"])
    assert len(data.splits()["test"]) < 10
    photo = ["--data.predict_path=x.png", "--predictions.path=p.csv", "--trainer.enable_progress_bar=false"]
    Image.new("RGB", (9, 9)).save("x.png")
    main(["predict", "--ckpt_path=two.ckpt", *photo])
    assert "class 3" in Path("p.csv").read_text()
    main(["compress", "--ckpt_path=two.ckpt", *few, *OBS, "--out=again.ckpt"])
    main(["export", "--ckpt_path=two.ckpt", "--format=torch", "--out=two.pt2", "--num_images=2"])


def test_what_is_calibrated_sees_images_of_the_classes_alone(checkpoints, monkeypatch):
    from lightning_transfer.commands import compress as command

    seen = []

    class Watched(command.CalibrationImages):
        def __init__(self, data, *arguments):
            seen.extend(data.splits()["train"].names)
            super().__init__(data, *arguments)

    monkeypatch.setattr(command, "CalibrationImages", Watched)
    halve(checkpoints[2], out="two.ckpt", classes=[0, 2])
    data = ClassSubsetData.load_from_checkpoint("two.ckpt").data
    classes = dict(zip(data.splits()["train"].names, data.splits()["train"].targets.tolist(), strict=True))
    assert sorted(seen) == sorted(name for name, k in classes.items() if k in (0, 2))


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
    bound = ["--bound.max_drop=0", "--bound.strengths=[0.99]"]
    without = ["--data=FakeData", "--data.val_fraction=0", "--data.image_size=32"]
    assert "has no val split by which bound could tell" in complaint(*flags, *OBS, *bound, *without)
    few = [f"--{name}={value}" for name, value in FEW.items()]
    assert "bound.metric='map' is not measured; these are: accuracy" in complaint(
        *flags, *few, *OBS, *bound, "--bound.metric=map"
    )
    assert "max_drop=0.0: even at 0.99 nll is worse by" in complaint(
        "compress",
        f"--ckpt_path={checkpoints[2]}",
        "--out=no.ckpt",
        *few,
        *OBS,
        *bound,
        "--bound.metric=nll",
        "--recompute_batch_norm=false",
    )
    assert "nothing that is given prunes" in complaint(*flags, *few, "--compressions+=GPTQ", *bound)
    assert "but the levels come to" in complaint(
        *flags, *few, *OBS, "--compressions.pattern.sparsity=0.9", "--budget.sparsities=[0,0.5]"
    )
    assert "classes holds 'dog', which is no class" in complaint(*flags, *OBS, "--classes=[dog,0]")
    assert not list(Path().rglob("no.*"))
