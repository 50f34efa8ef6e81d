import csv
import subprocess
import sys
from pathlib import Path

import pytest

from lightning_transfer.__main__ import main

SMALL = [
    "--model=FinetuneModule",
    "--model.backbone=TimmBackbone",
    "--model.backbone.name=test_resnet",
    "--model.backbone.pretrained=false",
    "--data=FakeData",
    "--data.image_size=32",
    "--data.num_workers=0",
    "--config=smoke",
    "--trainer.log_every_n_steps=1",
]


@pytest.fixture
def ckpt():
    main(["fit", *SMALL])
    (path,) = Path("runs").rglob("best.ckpt")
    return path


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_answers_without_torch(argument):
    code = f"import sys; from lightning_transfer.__main__ import main; main(['{argument}']); sys.exit('torch' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "lightning-transfer" in result.stdout


def test_a_run_has_its_folder(ckpt):
    names = {path.name for path in ckpt.parent.iterdir()}
    assert {"best.ckpt", "last.ckpt", "metrics.csv", "config.yaml"} <= names
    header = (ckpt.parent / "metrics.csv").read_text().partition("\n")[0].split(",")
    assert {"train/loss", "val/loss", "val/accuracy", "lr-AdamW/head"} <= set(header)


def test_a_class_is_enough_for_a_backbone(complaint):
    others = [
        "--model=FinetuneModule",
        "--data=FakeData",
        "--data.image_size=32",
        "--data.num_workers=0",
        "--config=smoke",
    ]
    main(["fit", *others, "--model.backbone=Conv4"])
    (config,) = Path("runs").rglob("config.yaml")
    assert "class_path: lightning_transfer.backbones.Conv4" in config.read_text()
    assert "'Conv5' is no model of timm" in complaint("fit", *others, "--model.backbone=Conv5")


def test_checkpoint_alone_is_enough_and_flags_win(ckpt, capsys):
    for command in ("validate", "test", "predict"):
        main([command, "--ckpt_path", str(ckpt), "--trainer.enable_progress_bar=false"])
    (predictions,) = ckpt.parent.glob("predict_*/predictions.csv")
    rows = list(csv.DictReader(predictions.read_text().splitlines()))
    assert 10 <= len(rows) <= 14  # a fifth of 64
    assert rows[0]["path"] == "fake/" + rows[0]["path"].partition("/")[2]
    main(
        [
            "test",
            f"--ckpt_path={ckpt}",
            "--data.batch_size=3",
            "--trainer.limit_test_batches=1",
            "--model.channels_last=false",
        ]
    )
    configs = [path.read_text() for path in ckpt.parent.glob("test_*/config.yaml")]
    assert any("batch_size: 3\n" in text and "channels_last: false" in text for text in configs)


@pytest.mark.parametrize("suffix", ["csv", "jsonl", "parquet"])
def test_predicts_a_folder_of_unlabelled_images(ckpt, suffix):
    from PIL import Image

    Path("photos").mkdir()
    for i in range(3):
        Image.new("L", (40, 30), 80 * i).save(f"photos/{i}.png")
    path = Path(f"out.{suffix}")
    main(
        [
            "predict",
            f"--ckpt_path={ckpt}",
            "--data.predict_path=photos",
            f"--predictions.path={path}",
            "--predictions.top_k=2",
        ]
    )
    if suffix == "parquet":
        import pyarrow.parquet

        names = pyarrow.parquet.read_table(path).to_pydict()["path"]
    else:
        names = [line for line in path.read_text().splitlines() if ".png" in line]
    assert len(names) == 3
    assert "photos/0.png" in names[0]


def test_resumes_in_a_folder_of_its_own(ckpt):
    before = {path.name: path.read_bytes() for path in ckpt.parent.iterdir()}
    config = str(ckpt.parent / "config.yaml")
    main(["fit", "--config", config, f"--ckpt_path={ckpt.parent}/last.ckpt", "--trainer.max_epochs=2"])
    (folder,) = {path.parent for path in Path("runs").rglob("best.ckpt")} - {ckpt.parent}
    assert folder.parent == ckpt.parent.parent
    rows = list(csv.DictReader((folder / "metrics.csv").read_text().splitlines()))
    assert {row["epoch"] for row in rows if row["epoch"]} == {"1"}
    main(["test", "--config", config, "--ckpt_path", str(ckpt)])
    assert {path.name: path.read_bytes() for path in ckpt.parent.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model.bakbone=x"], "FinetuneModule has no argument 'bakbone'; did you mean 'backbone'?"),
        (["--data.bach_size=3"], "FakeData has no argument 'bach_size'; did you mean 'batch_size'?"),
        (["--modl=x"], "--modl=x; `lightning-transfer fit --help` lists all keys"),
        (["--data=FakeDatta"], "'FakeDatta' names no class; did you mean 'FakeData'?"),
        (["--data=FolderData"], "FolderData needs root"),
        (["--data.batch_size=many"], "data.batch_size=many is of the wrong type; it takes int"),
        (["--trainer.max_epochs=many"], "trainer.max_epochs=many is of the wrong type; it takes int or null"),
        (
            ["--model.class_weights=x"],
            "model.class_weights=x is of the wrong type; it takes Literal['none', 'balanced'] or dict",
        ),
        (["--data.train_transform.scale=3"], "data.train_transform.scale=3 is of the wrong type; it takes tuple"),
        (["--data.train_transform.magnitude=3"], "magnitude=3 is the strength of auto=rand"),
        (
            ["--data.train_transform.auto=randaugment"],
            "data.train_transform.auto=randaugment is of the wrong type; it takes Literal['none', 'rand', 'trivial', 'augmix']",
        ),
        (["--model.mixing=CutMixx"], "'CutMixx' names no class; did you mean 'CutMix'?"),
        (["--model.mixing=Mixup", "--model.mixing.alpha=0"], "alpha=0.0 must be positive"),
        (["--model.mixing=Mixup", "--model.loss=Focal"], "mixing=Mixup gives an image shares of several classes"),
        (["--model.head=CosineHead", "--model.head.scale=-1"], "scale=-1.0 must be positive"),
        (
            ["--config=trainer/ddp", "--trainer.accelerator=cpu", "--trainer.devices=2"],
            "trainer.sync_batchnorm=true is for GPUs, and here are CPUs; add --trainer.sync_batchnorm=false",
        ),
    ],
)
def test_complains_of_arguments(complaint, arguments, message):
    assert f"error: {message}" in complaint("fit", *SMALL, *arguments).replace("unrecognized arguments: ", "")


def test_says_what_a_command_needs(complaint):
    assert "fit needs --data, --model: name a configuration" in complaint("fit")
    assert "test needs --data, --model: name a checkpoint" in complaint("test")
    assert "put --data CLASS, or --config, in front" in complaint("fit", "--data.image_size=32", "--data=FakeData")
    assert "put --model CLASS" in complaint("fit", "--model.backbone=resnet18", "--model=FinetuneModule")


def test_complains_of_misspelt_keys_in_files(complaint):
    Path("bad.yaml").write_text("trainr: {max_epochs: 1}\n")
    assert "trainr" in complaint("fit", *SMALL, "--config=bad.yaml")


def test_complains_of_unknown_names(complaint):
    assert "resnet18" in complaint("fit", *SMALL, "--model.backbone.name=resnt18")
    assert "finetune/digits" in complaint("fit", "--config=finetune/digitz")
    assert "is no file" in complaint("test", "--ckpt_path=nope.ckpt")


def test_several_labels_an_image(capsys):
    from PIL import Image

    def labels(i):
        return [name for name, there in (("red", i % 2), ("green", i // 2 % 2)) if there]

    rows = ["path,label"]
    for i in range(40):
        Image.new("RGB", (32, 32), (200 * (i % 2), 200 * (i // 2 % 2), 0)).save(f"{i}.png")
        rows.append(f"{i}.png,{'|'.join(labels(i))}")
    Path("labels.csv").write_text("\n".join(rows))
    data = ["--data=CsvData", "--data.csv=labels.csv", "--data.separator=|", "--data.image_size=32"]
    main(["fit", *SMALL, *data, "--trainer.max_epochs=15", "--trainer.limit_train_batches=1.0", "--data.batch_size=8"])
    (path,) = Path("runs").rglob("last.ckpt")
    capsys.readouterr()
    main(["test", f"--ckpt_path={path}", "--trainer.enable_progress_bar=false"])
    assert "test/map" in capsys.readouterr().out
    main(["predict", f"--ckpt_path={path}", "--predictions.path=out.csv", "--trainer.enable_progress_bar=false"])
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    right = [row["class"] == "|".join(labels(int(Path(row["path"]).stem))) for row in rows]
    assert len(rows) == 8
    assert sum(right) >= 6


def test_complains_of_other_classes_and_missing_folders(ckpt, complaint):
    assert "knows 4 classes" in complaint("test", f"--ckpt_path={ckpt}", "--data.num_classes=6")
    assert "data.predict_path='nope'" in complaint("predict", f"--ckpt_path={ckpt}", "--data.predict_path=nope")


def test_complains_of_unreadable_images_in_workers(complaint):
    for name in ("ant", "bee"):
        Path("x", name).mkdir(parents=True)
        for i in range(8):
            Path("x", name, f"{i}.png").write_text("broken")
    text = complaint("fit", *SMALL, "--data=FolderData", "--data.root=x", "--data.num_workers=1")
    assert "cannot be read as an image" in text
    assert "on_error=skip" in text
