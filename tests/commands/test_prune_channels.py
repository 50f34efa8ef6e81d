import csv
import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.commands.prune_channels import prune_channels
from lightning_transfer.data import FakeData
from lightning_transfer.edits import HoldStatistics, LoRA, StartFrom
from lightning_transfer.losses.distill import Labels, SoftTargetKL
from lightning_transfer.modules import DistillModule
from lightning_transfer.penalties import L2SP
from lightning_transfer.teachers import CheckpointTeacher

pytest.importorskip("torch_pruning")
FEW = {"rounds": 1, "resamples": 20, "images": 16}
IMAGE = torch.rand(2, 3, 32, 32)


def load(path):
    return FinetuneModule.load_from_checkpoint(path).eval()


def logits(path):
    return load(path)(IMAGE).logits


def save(trainer, path, cls=FinetuneModule, **options):
    data = FakeData(image_size=32, num_workers=0, batch_size=8)
    backbone = TimmBackbone("test_resnet", pretrained=False)
    optim = Optim(partial(SGD, lr=0.01), schedule=None)
    module = cls(backbone, num_classes=4, optim=optim, class_names=data.class_names, image_size=32, **options)
    run = trainer(max_epochs=1, limit_val_batches=0)
    run.fit(module, data)
    run.save_checkpoint(path)
    return module.eval()


def test_a_narrow_checkpoint_goes_through_test_predict_and_export(checkpoints, capsys):
    few = [f"--{name}={value}" for name, value in FEW.items()]
    main(["prune_channels", f"--ckpt_path={checkpoints[2]}", *few, "--importance=taylor", "--out=narrow.ckpt"])
    assert "times as fast as dense" in capsys.readouterr().out
    for words in (["test"], ["predict", "--predictions.path=p.csv"]):
        main([*words, "--ckpt_path=narrow.ckpt", "--trainer.enable_progress_bar=false"])
    main(["export", "--ckpt_path=narrow.ckpt", "--format=torch", "--out=narrow.pt2", "--num_images=4"])
    report = json.loads(Path("narrow.json").read_text())
    dense, compressed = report["dense"], report["compressed"]
    for figure in ("parameters", "macs", "bytes", "weights"):
        assert compressed[figure] < 0.7 * dense[figure], figure
    accuracy = [report[name]["metrics"]["accuracy"]["value"] for name in ("dense", "compressed", "change")]
    assert accuracy[2] == pytest.approx(accuracy[1] - accuracy[0])
    assert (report["ratio"], report["importance"], report["left_out"]) == (0.3, "taylor", {})
    narrow, whole = load("narrow.ckpt").model, load(checkpoints[2]).model
    assert compressed["parameters"] == sum(p.numel() for p in narrow.parameters())
    rows = {row["name"]: row for row in csv.DictReader(Path("narrow.csv").read_text().splitlines())}
    layer = narrow.backbone.model.layer4[0].conv2
    assert (int(rows["head"]["inputs"]), int(rows["head"]["outputs"])) == (narrow.backbone.num_features, 4)
    assert int(rows["backbone.model.layer4.0.conv2"]["outputs"]) == layer.out_channels < 96
    assert layer.out_channels % 8 == 0
    assert int(rows["head"]["dense_inputs"]) == whole.head.in_features


@pytest.mark.parametrize(("form", "out"), [("onnx", "narrow.onnx"), ("timm", "narrow")])
def test_exports(checkpoints, complaint, form, out):
    prune_channels(checkpoints[2], **FEW, out="narrow.ckpt")
    words = ["export", "--ckpt_path=narrow.ckpt", f"--format={form}", f"--out={out}", "--num_images=4"]
    if form == "timm":  # whose folders hold networks as timm builds them
        assert "no longer as timm builds it" in complaint(*words)
        return
    pytest.importorskip("onnxruntime")
    main(words)
    assert Path(out).stat().st_size > 0


def test_a_fresh_process_needs_the_checkpoint_alone(checkpoints):
    prune_channels(checkpoints[2], **FEW, out="narrow.ckpt")
    expected = logits("narrow.ckpt")
    Path(checkpoints[2]).unlink()
    torch.save(IMAGE, "image.pt")
    code = (
        "import sys, torch; sys.modules['torch_pruning'] = None\n"  # nor does it need the library
        "from lightning_transfer import FinetuneModule\n"
        "module = FinetuneModule.load_from_checkpoint('narrow.ckpt').eval()\n"
        "torch.save(module(torch.load('image.pt')).logits.detach(), 'logits.pt')\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env={**__import__("os").environ, "PYTHONPATH": _package()})
    assert torch.allclose(torch.load("logits.pt"), expected, atol=1e-6)


def _package():
    import lightning_transfer

    return str(Path(lightning_transfer.__file__).parent.parent)


def test_a_ratio_of_nothing_changes_nothing(checkpoints):
    prune_channels(checkpoints[2], ratio=0.0, **FEW, out="same.ckpt")
    before, after = (torch.load(path, weights_only=True) for path in (checkpoints[2], "same.ckpt"))
    assert all(torch.equal(tensor, after["state_dict"][name]) for name, tensor in before["state_dict"].items())
    assert before["hyper_parameters"] == after["hyper_parameters"]


def test_what_was_pruned_can_be_pruned_again(checkpoints):
    prune_channels(checkpoints[2], ratio=0.25, round_to=1, **FEW, out="once.ckpt")
    prune_channels("once.ckpt", ratio=0.5, ranking="isomorphic", round_to=1, **FEW, out="twice.ckpt")
    once, twice = load("once.ckpt").model, load("twice.ckpt").model
    assert once.backbone.model.conv1[0].out_channels == 12
    assert sum(p.numel() for p in twice.parameters()) < 0.4 * sum(p.numel() for p in once.parameters())
    edits = torch.load("twice.ckpt", weights_only=True)["hyper_parameters"]["edits"]
    assert [edit["class_path"].rpartition(".")[2] for edit in edits] == ["NarrowChannels"]
    assert json.loads(Path("twice.json").read_text())["dense"]["parameters"] == sum(
        p.numel() for p in once.parameters()
    )


def test_batch_norm_is_corrected_unless_told_otherwise_or_frozen(checkpoints, trainer):
    prune_channels(checkpoints[2], **FEW, out="with.ckpt")
    prune_channels(checkpoints[2], **FEW, out="without.ckpt", recompute_batch_norm=False)
    name = "model.backbone.model.bn1.running_mean"
    found = {path: torch.load(path, weights_only=True)["state_dict"][name] for path in ("with.ckpt", "without.ckpt")}
    whole = torch.load(checkpoints[2], weights_only=True)["state_dict"][name]
    assert torch.isin(found["without.ckpt"], whole).all()
    assert not torch.isin(found["with.ckpt"], whole).any()
    held = save(trainer, "held.ckpt", edits=[HoldStatistics()])
    prune_channels("held.ckpt", **FEW, out="frozen.ckpt")
    kept = load("frozen.ckpt").model.backbone.model.bn1.running_mean
    assert torch.isin(kept, held.model.backbone.model.bn1.running_mean).all()


def test_a_penalty_holds_on_to_what_is_left(trainer):
    save(trainer, "dense.ckpt", penalties=[L2SP()])
    prune_channels("dense.ckpt", **FEW, out="narrow.ckpt")
    module = load("narrow.ckpt")
    assert module.penalties[0](module.model).item() == pytest.approx(  # what is left is the head's size
        0.005 * sum(p.square().sum().item() for p in module.model.head.parameters()), rel=1e-4
    )


def test_a_narrow_student_learns_from_the_dense_network_and_is_pruned_in_turn(checkpoints, trainer):
    prune_channels(checkpoints[2], **FEW, out="narrow.ckpt")
    losses = {"labels": Labels(), "soft": SoftTargetKL(4.0)}
    options = {"teacher": CheckpointTeacher(checkpoints[2]), "losses": losses, "edits": [StartFrom("narrow.ckpt", "")]}
    student = save(trainer, "student.ckpt", DistillModule, **options)
    Path("narrow.ckpt").unlink()
    again = DistillModule.load_from_checkpoint("student.ckpt").eval()
    assert torch.equal(again(IMAGE).logits, student(IMAGE).logits)
    prune_channels("student.ckpt", **FEW, out="smaller.ckpt")
    smaller = DistillModule.load_from_checkpoint("smaller.ckpt")
    assert smaller.model.head.in_features < student.model.head.in_features < 96


def test_complaints(checkpoints, complaint, trainer):
    flags = ["prune_channels", f"--ckpt_path={checkpoints[0]}", "--out=no.ckpt"]
    assert "ratio=1.0 is a share" in complaint(*flags, "--ratio=1")
    assert "out='x' must end in .ckpt" in complaint(*flags[:2], "--out=x")
    assert "'none.ckpt' is no file" in complaint("prune_channels", "--ckpt_path=none.ckpt")
    assert "has no test split" in complaint(*flags, "--data=FakeData", "--data.test_fraction=0")
    pytest.importorskip("peft")
    save(trainer, "lora.ckpt", edits=[LoRA(rank=2)])
    assert "has layers that LoRA inserted" in complaint("prune_channels", "--ckpt_path=lora.ckpt", "--out=no.ckpt")
    assert not list(Path().rglob("no.*"))


def test_a_missing_package_is_named_before_the_work(checkpoints, complaint, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch_pruning", None)
    assert 'pip install "lightning_transfer[compress]"' in complaint("prune_channels", f"--ckpt_path={checkpoints[0]}")


def test_says_which_modules_have_no_channels_to_prune(pairs, complaint):
    assert "holds a PairsModule; channels are pruned from classifiers" in complaint(
        "prune_channels", f"--ckpt_path={pairs}"
    )
