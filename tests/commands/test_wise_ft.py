import csv
import json
from pathlib import Path

import pytest
import torch

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.data import FakeData
from lightning_transfer.merging import Evaluator, interpolate, read_models

SETS = {
    "same": {"class_path": "FakeData", "init_args": {"image_size": 32, "num_workers": 0}},
    "small": {"class_path": "FakeData", "init_args": {"image_size": 32, "num_workers": 0, "pixels": 8}},
}


def rows(path):
    return [{k: float(v) for k, v in row.items()} for row in csv.DictReader(path.read_text().splitlines())]


def test_measures_the_line_on_named_sets_and_keeps_the_best_on_validation(checkpoints, trainer, data, capsys):
    source, _, tuned = checkpoints
    main(["wise_ft", f"--tuned={tuned}", f"--source={source}", f"--test_sets={json.dumps(SETS)}",
          "--alphas=[1,0,0.25,0.5,0.75]", "--out=kept/best.ckpt"])  # fmt: skip
    assert {path.name for path in Path("kept").iterdir()} == {"best.ckpt", "best.csv", "best.png"}
    assert "small/accuracy" in capsys.readouterr().out
    table = rows(Path("kept/best.csv"))
    assert [row["alpha"] for row in table] == [0, 0.25, 0.5, 0.75, 1]
    assert {"val/accuracy", "val/loss", "test/accuracy", "same/accuracy", "small/accuracy", "small/ece"} <= set(
        table[0]
    )
    run = trainer()
    for path, row in ((source, table[0]), (tuned, table[-1])):
        module = FinetuneModule.load_from_checkpoint(path)
        (validated,) = run.validate(module, data, verbose=False)
        assert validated["val/loss"] == row["val/loss"]
        assert row["same/loss"] == row["test/loss"]
        (tested,) = run.test(module, FakeData(image_size=32, num_workers=0, pixels=8), verbose=False)
        assert tested["test/loss"] == pytest.approx(row["small/loss"])
    assert table[-1]["small/loss"] != table[-1]["test/loss"]
    best = max(table, key=lambda row: row["val/accuracy"])
    kept = FinetuneModule.load_from_checkpoint("kept/best.ckpt")
    (validated,) = run.validate(kept, data, verbose=False)
    assert validated["val/loss"] == pytest.approx(best["val/loss"])
    models = read_models([source, tuned])
    for name, tensor in interpolate(models[source], models[tuned], best["alpha"]).items():
        assert torch.equal(kept.state_dict()[name], tensor)
    main(["test", "--ckpt_path=kept/best.ckpt", "--trainer.enable_progress_bar=false"])


def test_needs_no_more_than_two_runs_of_the_command_line():
    small = ["--model=FinetuneModule", "--model.backbone=TimmBackbone", "--model.backbone.name=test_resnet",
             "--model.backbone.pretrained=false", "--data=FakeData", "--data.image_size=32", "--data.num_workers=0",
             "--data.train_transform=TrainTransform", "--data.train_transform.flip=0", "--config=smoke"]  # fmt: skip
    main(["fit", *small, "--trainer.default_root_dir=probe", "--model.edits+=FreezeBackbone"])
    main(["fit", *small, "--trainer.default_root_dir=tuned", "--model.penalties+=L2SP", "--config=ema"])
    main(
        [
            "wise_ft",
            "--tuned=tuned/best.ckpt",
            "--source=probe/best.ckpt",
            "--alphas=[0.5,1]",
            "--recompute_batch_norm=true",
        ]
    )
    (path,) = Path("tuned").glob("wise_ft_*/wise_ft.csv")
    assert "test/accuracy" in rows(path)[0]
    before, after = (
        torch.load("tuned/best.ckpt", weights_only=True),
        torch.load(path.with_suffix(".ckpt"), weights_only=True),
    )
    starts = [name for name in before["state_dict"] if name.startswith("penalties.0.source/backbone")]
    assert starts
    assert all(torch.equal(after["state_dict"][name], before["state_dict"][name]) for name in starts)
    assert "current_model_state" not in after
    main(["test", f"--ckpt_path={path.with_suffix('.ckpt')}"])


def test_statistics_of_batch_norm_are_interpolated_or_computed_anew(checkpoints):
    source, _, tuned = checkpoints
    for flag in ("false", "true"):
        main(["wise_ft", f"--tuned={tuned}", f"--source={source}", "--alphas=[0.5]", f"--out={flag}.ckpt",
              f"--recompute_batch_norm={flag}"])  # fmt: skip
    models = read_models([source, tuned, "false.ckpt", "true.ckpt"])
    middle = interpolate(models[source], models[tuned], 0.5)
    anew = Evaluator(tuned).with_batch_norm(middle)
    for name, tensor in middle.items():
        assert torch.equal(models["false.ckpt"][name], tensor)
        assert torch.equal(models["true.ckpt"][name], anew[name])
        assert torch.equal(tensor, anew[name]) == ("running" not in name and "num_batches" not in name), name


def test_complaints(checkpoints, complaint, trainer, data):
    source, _, tuned = checkpoints
    flags = ["wise_ft", f"--tuned={tuned}", f"--source={source}"]
    assert "alphas=[0.5, 1.5] must be numbers in [0, 1]" in complaint(*flags, "--alphas=[0.5,1.5]")
    assert "out='x.pt' must end in .ckpt" in complaint(*flags, "--out=x.pt")
    assert "'nope.ckpt' is no file" in complaint("wise_ft", f"--tuned={tuned}", "--source=nope.ckpt")
    assert "metric='ece' cannot choose a model; those that are better when higher: accuracy" in complaint(
        *flags, "--metric=ece"
    )
    assert "test_sets: 'val' cannot name a set" in complaint(*flags, '--test_sets={"val": {"class_path": "FakeData"}}')
    assert "test_sets.more has 5 classes and the data has 4" in complaint(
        *flags, '--test_sets={"more": {"class_path": "FakeData", "init_args": {"num_classes": 5}}}'
    )
    for name, options in (("wide", {}), ("named", {"class_names": list("abcd")})):
        backbone = "test_resnet" if options else "test_vit"
        run = trainer(max_steps=1)
        run.fit(
            FinetuneModule(
                TimmBackbone(backbone, pretrained=False),
                4,
                image_size=32,
                **({"class_names": data.class_names} | options),
            ),
            data,
        )
        run.save_checkpoint(f"{name}.ckpt")
    text = complaint("wise_ft", f"--tuned={tuned}", "--source=wide.ckpt")
    assert "has a tensor 'model.backbone.model." in text
    assert "only models of one architecture" in text
    assert "named.ckpt knows other classes than" not in text
    assert "knows other classes than named.ckpt" in complaint("wise_ft", f"--tuned={tuned}", "--source=named.ckpt")
    assert not list(Path().rglob("*.partial"))
    assert not list(Path().rglob("wise_ft.*"))
