import csv
import json
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.commands.report import report
from lightning_transfer.data import Corruption, CsvData, FakeData

FILES = {"report.json", "headline.csv", "per_class.csv", "confusion.csv", "confusion.png", "worst.csv", "worst.png",
         "reliability.png"}  # fmt: skip


def fake(**options):
    return FakeData(image_size=32, num_workers=0, batch_size=8, **options)


def trained(trainer, data, epochs=0, path="made.ckpt"):
    torch.manual_seed(0)
    optim = Optim(partial(SGD, lr=0.1, momentum=0.9), schedule=None)
    backbone = TimmBackbone("test_resnet", pretrained=False)
    module = FinetuneModule(backbone, data.num_classes, optim, class_names=data.class_names, image_size=32,
                            task=data.task)  # fmt: skip
    if not epochs:
        torch.nn.init.normal_(module.model.head.weight, std=30)
    run = trainer(max_epochs=epochs or 1, limit_train_batches=1.0 if epochs else 1, limit_val_batches=0)
    if not epochs:
        module.optim = Optim(partial(SGD, lr=0.0), schedule=None)
    run.fit(module, data)
    run.save_checkpoint(path)
    return path


def table(path):
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def test_writes_the_figures_that_test_logs(trainer, capsys):
    data = fake(val_fraction=0.4, test_sets={"small": FakeData(pixels=8)}, corruptions=[Corruption("contrast", 5)])
    path = trained(trainer, data)
    main(["report", f"--ckpt_path={path}", "--out=out", "--resamples=50"])
    assert {file.name for file in Path("out").iterdir()} == FILES
    module = FinetuneModule.load_from_checkpoint(path)
    run = trainer()
    (validated,) = run.validate(module, data, verbose=False)
    logged = {k: v for row in [validated, *run.test(module, data, verbose=False)] for k, v in row.items()}
    rows = table("out/headline.csv")
    assert [row["set"] for row in rows if row["metric"] == "nll"] == ["val", "test", "small", "contrast_5"]
    for row in rows:
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
        key = f"{row['set']}/{row['metric'].replace('nll', 'loss')}"
        if not key.endswith("_scaled"):
            assert logged[key] == pytest.approx(float(row["value"]), abs=1e-5)
    text = capsys.readouterr().out
    assert "temperature" in text
    assert "written to out" in text
    summary = json.loads(Path("out/report.json").read_text())
    found = summary["sets"]["val"]
    assert found["nll_scaled"]["value"] < found["nll"]["value"]
    assert summary["sets"]["small"]["images"] == 13
    counts = [[int(row[name]) for name in data.class_names] for row in table("out/confusion.csv")]
    assert sum(map(sum, counts)) == 13
    assert sum(counts[k][k] for k in range(4)) / 13 == pytest.approx(summary["sets"]["test"]["accuracy"]["value"])
    assert len(table("out/worst.csv")) == 13 - sum(counts[k][k] for k in range(4))


def test_a_folder_beside_the_checkpoint_and_further_sets(trainer):
    path = trained(trainer, fake())
    sets = {"small": {"class_path": "FakeData", "init_args": {"pixels": 8}}}
    main(["report", f"--ckpt_path={path}", f"--test_sets={json.dumps(sets)}", "--resamples=2", "--seed=3"])
    (folder,) = Path().glob("report_*")
    assert {row["set"] for row in table(folder / "headline.csv")} == {"val", "test", "small"}


def test_without_errors_there_is_no_sheet_and_no_temperature(trainer, capsys):
    data = fake(pixels=8, val_fraction=0.2)
    path = trained(trainer, data, epochs=60)
    Path("out").mkdir()
    Path("out/worst.png").write_text("of an earlier report")
    report(path, resamples=10, out="out")
    text = capsys.readouterr().out
    assert "no wrong decision on test: there is no worst.png" in text
    assert "no temperature: all 10 validation images are classified rightly" in text
    assert {file.name for file in Path("out").iterdir()} == FILES - {"worst.png"}
    assert table("out/worst.csv") == []
    assert Path("out/worst.csv").read_text().startswith("image,true,predicted")


def test_without_validation_or_test_split(trainer, capsys):
    path = trained(trainer, fake(val_fraction=0))
    report(path, resamples=2, out="out")
    assert "no temperature: the data has no val split" in capsys.readouterr().out
    assert json.loads(Path("out/report.json").read_text())["temperature"] is None
    report(path, fake(test_fraction=0), {"small": FakeData(pixels=8)}, resamples=2, out="small")
    summary = json.loads(Path("small/report.json").read_text())
    assert (summary["details_of"], list(summary["sets"])) == ("small", ["val", "small"])
    with pytest.raises(ValueError, match="the data has no test split"):
        report(path, fake(test_fraction=0), resamples=2, out="none")
    assert not Path("none").exists()


def listed(separator=None):
    """A file with groups of three pictures, a class (`cow`) without test images, and one (`dog`) that lacks a picture."""
    lines = ["path,label,split,scene"]
    for i in range(36):
        Image.new("RGB", (32, 32), (120 * (i % 3), 250 - 100 * (i % 3), 2 * i)).save(f"{i}.png")
        name = ("ant", "bee", "dog")[i % 3]
        split = ("train", "val", "test")[i // 12]
        label = "cow" if split == "train" and i < 3 else name
        lines.append(f"{i}.png,{label + '|ant' if separator and i % 2 else label},{split},{i // 3}")
    Path("list.csv").write_text("\n".join(lines))
    return CsvData("list.csv", group_column="scene", separator=separator, image_size=32, num_workers=0, on_error="skip")


def test_groups_classes_without_images_and_unreadable_files(trainer):
    data = listed()
    path = trained(trainer, data)
    Path("30.png").write_text("no image")
    report(path, resamples=20, out="out")
    rows = {row["class"]: row for row in table("out/per_class.csv")}
    assert [rows["cow"][key] for key in ("n", "recall")] == ["0", ""]
    assert sum(int(row["n"]) for row in rows.values()) == 11
    summary = json.loads(Path("out/report.json").read_text())
    assert [summary["sets"]["test"][key] for key in ("images", "groups")] == [11, 4]


def test_several_labels_an_image(trainer):
    path = trained(trainer, listed("|"), epochs=10)
    report(path, resamples=20, out="out")
    assert {file.name for file in Path("out").iterdir()} == FILES - {"confusion.csv", "confusion.png"}
    found = json.loads(Path("out/report.json").read_text())["sets"]["val"]
    assert {"map", "f1", "ece", "nll_scaled"} <= set(found)
    assert found["nll_scaled"]["value"] <= found["nll"]["value"]
    assert {row["true"] for row in table("out/worst.csv")} <= {
        f"{no}{n}" for n in ("ant", "bee", "cow", "dog") for no in ("", "not ")
    }


def measured(shift=0):
    """How bright a plain image is, as a year and as a share, in groups of two."""
    lines = ["path,year,share,scene"]
    for i in range(60):
        grey = (37 * i + shift) % 60 / 60
        Image.new("RGB", (16, 16), (int(255 * grey), 120, int(255 * grey))).save(f"{shift}_{i}.png")
        lines.append(f"{shift}_{i}.png,{1900 + 100 * grey},{grey / 100},{i // 2}")
    Path(f"list_{shift}.csv").write_text("\n".join(lines))
    return CsvData(f"list_{shift}.csv", target_columns=["year", "share"], group_column="scene", image_size=32,
                   num_workers=0)  # fmt: skip


def test_numbers_and_how_far_off_they_are(trainer, capsys):
    data = measured()
    path = trained(trainer, data, epochs=8)
    sets = {"further": measured(3)}
    folder = report(path, test_sets=sets, resamples=50, out="out", sheet=7)
    assert {file.name for file in folder.iterdir()} == {
        "report.json", "headline.csv", "per_target.csv", "worst.csv", "worst.png", "scatter.png",
    }  # fmt: skip
    data.add_test_sets(sets)
    module = FinetuneModule.load_from_checkpoint(path)
    run = trainer()
    (validated,) = run.validate(module, data, verbose=False)
    logged = {k: v for row in [validated, *run.test(module, data, verbose=False)] for k, v in row.items()}
    rows = {(row["set"], row["metric"]): row for row in table("out/headline.csv")}
    assert {name for name, _ in rows} == {"val", "test", "further"}
    for (name, metric), row in rows.items():
        assert float(row["low"]) <= float(row["value"]) <= float(row["high"])
        if "/" not in metric:
            assert float(row["value"]) == pytest.approx(logged[f"{name}/{metric}"], rel=1e-4)
    each = table("out/per_target.csv")
    assert [row["target"] for row in each] == ["year", "share"]
    for metric in ("mae", "r2"):
        assert sum(float(row[metric]) for row in each) / 2 == pytest.approx(logged[f"test/{metric}"], rel=1e-4)
        assert float(each[0][metric]) == float(rows["test", f"year/{metric}"]["value"])
    worst = table("out/worst.csv")
    assert len(worst) == 2 * int(rows["test", "mae"]["images"])
    text = capsys.readouterr().out
    assert f"the largest error on test: {worst[0]['image']}, {worst[0]['target']} " in text
    assert "targets by R2" in text
    summary = json.loads(Path("out/report.json").read_text())
    assert summary["targets"] == ["year", "share"]
    assert "temperature" not in summary
    assert summary["sets"]["test"]["groups"] < summary["sets"]["test"]["images"]


def test_nothing_of_an_earlier_report_is_left(trainer):
    report(trained(trainer, fake()), resamples=2, out="out")
    report(trained(trainer, measured(), epochs=1), resamples=2, out="out")
    assert not {"per_class.csv", "confusion.png", "reliability.png"} & {file.name for file in Path("out").iterdir()}


def test_complaints(trainer, complaint):
    path = trained(trainer, fake())
    flags = ["report", f"--ckpt_path={path}", "--out=out"]
    assert "resamples=0 must be at least 1" in complaint(*flags, "--resamples=0")
    assert "sheet=0 must be at least 1" in complaint(*flags, "--sheet=0")
    assert "level=95" in complaint(*flags, "--level=95")
    assert "device='abc' is not there" in complaint(*flags, "--device=abc")
    assert "'nope.ckpt' is no file" in complaint("report", "--ckpt_path=nope.ckpt")
    assert "data has 5 classes" in complaint(*flags, "--data=FakeData", "--data.num_classes=5")
    assert "test_sets: 'val' cannot name a set" in complaint(*flags, '--test_sets={"val": {"class_path": "FakeData"}}')
    assert not Path("out").exists()
