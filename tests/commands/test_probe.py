import csv
import json
from pathlib import Path

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score
from torch import nn

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.cli import run_command
from lightning_transfer.commands.probe import probe
from lightning_transfer.data import FakeData, ImageData
from lightning_transfer.features import cached_features
from lightning_transfer.probes import KnnProbe, LogisticProbe

DATA = ["--data=FakeData", "--data.image_size=32", "--data.num_workers=0", "--data.images_per_class=30"]
BACKBONE = ["--backbone=TimmBackbone", "--backbone.name=test_resnet", "--backbone.pretrained=false"]


def test_probes_by_name_and_writes_what_it_shows(capsys):
    main(["probe", *BACKBONE, *DATA, "--probes=[LogisticProbe, SgdProbe, KnnProbe]"])
    (table,) = Path("runs/probe").glob("*/probe.csv")
    rows = list(csv.DictReader(table.read_text().splitlines()))
    assert [row["probe"] for row in rows] == ["LogisticProbe", "SgdProbe", "KnnProbe"]
    assert rows[0]["chosen"].startswith("c=")
    assert {"val/accuracy", "test/accuracy", "test/accuracy_macro", "test/ece", "seconds"} <= set(rows[0])
    assert json.loads((table.parent / "probe.json").read_text())[2]["chosen"]["k"] >= 5
    shown = capsys.readouterr().out
    assert "LogisticProbe" in shown
    assert all(word in shown for word in ("val", "test", "acc", "macro", "ece", "seconds"))
    assert f"{float(rows[0]['test/ece']):.4f}" in shown
    assert "…" not in shown
    assert not list(Path("runs").rglob("*.partial"))


def test_all_four_kinds_if_none_is_named():
    rows = run_command(["probe", *BACKBONE, *DATA, "--out=here"])
    assert [row["probe"] for row in rows] == ["LogisticProbe", "SgdProbe", "KnnProbe", "RidgeProbe"]
    assert all(row["test/accuracy"] > 0.5 for row in rows)  # of four classes
    assert Path("here/probe.csv").is_file()


def test_figures_are_those_of_scikit_learn_on_the_cached_features():
    torch.manual_seed(0)
    backbone, data = TimmBackbone("test_resnet", pretrained=False), FakeData(image_size=32, num_workers=0)
    (row,) = probe(data, backbone, probes=[LogisticProbe([1e-3], standardise=False, tolerance=1e-7)])
    train, test = (cached_features(backbone, data, split) for split in ("train", "test"))
    theirs = LogisticRegression(C=1e-3, tol=1e-8, max_iter=5000).fit(train.embedding.double().numpy(), train.target)
    assert row["test/accuracy"] == pytest.approx(accuracy_score(test.target, theirs.predict(test.embedding.numpy())))


@pytest.fixture
def ckpt(trainer):
    module, run = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4), trainer(max_epochs=1)
    run.fit(module, FakeData(image_size=32, num_workers=0))
    run.save_checkpoint("x.ckpt")
    return module


def test_takes_backbone_and_data_out_of_a_checkpoint(ckpt, monkeypatch):
    rows = run_command(["probe", "--ckpt_path=x.ckpt", "--probes=[KnnProbe]", "--probes.init_args.k=[5]"])
    assert rows[0]["chosen"] == {"k": 5}
    assert len(list(Path().glob("probe_*/probe.csv"))) == 1  # beside the checkpoint
    again = run_command(["probe", "--ckpt_path=x.ckpt", *DATA, "--data.images_per_class=16", "--probes=[KnnProbe]"])
    monkeypatch.setattr("lightning_transfer.features.cache.embed", lambda *_: pytest.fail("computed again"))
    data = FakeData(image_size=32, num_workers=0)
    (direct,) = probe(data, ckpt.model.backbone, probes=[KnnProbe()])
    assert {k: v for k, v in direct.items() if k != "seconds"} == {k: v for k, v in again[0].items() if k != "seconds"}


def test_an_explicit_folder_of_features_is_used_or_refused(ckpt, complaint):
    arguments = ["--ckpt_path=x.ckpt", "--features=mine", "--probes=[KnnProbe]"]
    main(["probe", *arguments])
    assert sorted(path.name for path in Path("mine").iterdir()) == ["test", "train", "val"]
    assert not Path("runs/features").exists()
    main(["probe", *arguments])
    text = complaint("probe", *arguments, *DATA, "--data.image_size=40")
    assert "the features in mine/train are of other transform and images and image_size" in text


def test_complaints(ckpt, complaint):
    assert "needs either a backbone (--backbone" in complaint("probe", *DATA)
    assert "needs either a backbone (--backbone" in complaint("probe", *DATA, *BACKBONE, "--ckpt_path=x.ckpt")
    assert "probe needs data: --data" in complaint("probe", *BACKBONE)
    assert "nope.ckpt' is no file" in complaint("probe", "--ckpt_path=nope.ckpt")
    assert "device='tpu:9' is not there" in complaint("probe", *BACKBONE, *DATA, "--device=tpu:9")
    without_val = [*BACKBONE, *DATA, "--data.val_fraction=0"]
    assert (
        "no validation images to choose one of 7; set data.val_fraction above 0, or leave no choice: c=[0.1]"
        in complaint("probe", *without_val)
    )
    neither = [*without_val, "--data.test_fraction=0"]
    assert "neither a val nor a test split" in complaint("probe", *neither)
    assert "resnet18" in complaint("probe", *DATA, "--backbone=TimmBackbone", "--backbone.name=resnt18")
    assert not Path("runs/probe").exists()


def test_one_value_needs_no_validation():
    rows = run_command(
        [
            "probe",
            *BACKBONE,
            *DATA,
            "--data.val_fraction=0",
            "--probes=[RidgeProbe]",
            "--probes.init_args.strength=[10]",
        ]
    )
    assert rows[0]["chosen"] == {"strength": 10.0}
    assert "val/accuracy" not in rows[0]


def test_a_checkpoint_without_backbone_is_refused(trainer, monkeypatch):
    class Bare(nn.Module):
        pass

    module = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4)
    module.model = Bare()
    monkeypatch.setattr(
        "lightning_transfer.commands.probe.TransferModule.load_from_checkpoint", lambda *_, **__: module
    )
    with pytest.raises(ValueError, match="holds a FinetuneModule, whose model has no backbone to probe"):
        probe(FakeData(image_size=32), ckpt_path="x.ckpt")


def test_the_best_linear_head_is_a_checkpoint_of_the_same_accuracy(trainer):
    rows = run_command(["probe", *BACKBONE, *DATA, "--out=here"])
    best = max((row for row in rows if row["probe"] != "KnnProbe"), key=lambda row: row["val/accuracy"])
    module = FinetuneModule.load_from_checkpoint("here/probe.ckpt")
    (measured,) = trainer().test(module, ImageData.load_from_checkpoint("here/probe.ckpt"))
    assert measured["test/accuracy"] == pytest.approx(best["test/accuracy"], abs=1e-6)
    assert measured["test/ece"] == pytest.approx(best["test/ece"], abs=1e-4)


def test_votes_of_neighbours_are_no_checkpoint():
    run_command(["probe", *BACKBONE, *DATA, "--probes=[KnnProbe]", "--out=here"])
    assert not Path("here/probe.ckpt").exists()
