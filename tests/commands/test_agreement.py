import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from lightning_transfer import DistillModule, FinetuneModule, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.commands.agreement import agreement, short_names
from lightning_transfer.data import CsvData, FakeData
from lightning_transfer.losses.distill import SoftTargetKL
from lightning_transfer.teachers import CheckpointTeacher, Ensemble

FILES = {"agreement.csv", "matrices.npz", "correlation.png", "class_means.png"}


def rows(path="out/agreement.csv"):
    return list(csv.DictReader(Path(path).read_text().splitlines()))


def figures(row):
    return {name: float(value) for name, value in row.items() if name != "student" and value}


def fake(**options):
    return FakeData(image_size=32, num_workers=0, batch_size=8, **options)


@pytest.fixture
def written(trainer):
    """Writes the checkpoint of a network that saw a few batches."""

    def write(path, data, module=None, steps=12):
        module = module or FinetuneModule(
            TimmBackbone("test_resnet", pretrained=False), data.num_classes, class_names=data.class_names, image_size=32
        )
        run = trainer(max_steps=steps, limit_val_batches=0)
        run.fit(module, data)
        run.save_checkpoint(path)
        return path

    return write


def test_writes_figures_matrices_and_pictures_of_several_students(checkpoints, trainer, data, written, capsys):
    distilled = DistillModule(
        TimmBackbone("test_resnet", pretrained=False), CheckpointTeacher(checkpoints[2]), 4, {"soft": SoftTargetKL()},
        class_names=data.class_names, image_size=32,
    )  # fmt: skip
    Path("runs/hinton").mkdir(parents=True)
    student = written("runs/hinton/best.ckpt", data, distilled)
    main(["agreement", "--teacher", checkpoints[2], f"--ckpt_path=[{checkpoints[1]},{student}]", "--out=out"])
    assert {file.name for file in Path("out").iterdir()} == FILES
    table = rows()
    assert [row["student"] for row in table] == [checkpoints[1], student]
    run = trainer()
    for row in table:
        for path, prefix in ((row["student"], ""), (checkpoints[2], "teacher_")):
            module = (DistillModule if path == student else FinetuneModule).load_from_checkpoint(path)
            (tested,) = run.test(module, data, verbose=False)
            for name in ("accuracy", "ece"):
                assert float(row[f"{prefix}{name}"]) == pytest.approx(tested[f"test/{name}"], abs=1e-5)
        assert row["images"] == "13"
        assert 0 < float(row["cka"]) < 1
        assert "agreement_top5" not in row
    with np.load("out/matrices.npz") as matrices:
        assert matrices["students"].tolist() == [checkpoints[1], student]
        assert matrices["class_names"].tolist() == data.class_names
        assert matrices["correlation"].shape == matrices["class_means"].shape == (2, 4, 4)
        for row, found in zip(table, matrices["correlation"], strict=True):
            assert float(row["correlation_max"]) == pytest.approx(np.abs(found).max())
            assert float(row["correlation_frobenius"]) == pytest.approx(np.linalg.norm(found))
    text = capsys.readouterr().out
    assert "13 test images of FakeData" in text
    assert "written to out" in text


def test_a_copy_of_the_teacher_differs_in_nothing(checkpoints):
    shutil.copy(checkpoints[2], "copy.ckpt")
    main(["agreement", f"--teacher={checkpoints[2]}", "--ckpt_path=copy.ckpt", "--split=val", "--top_k=2"])
    (folder,) = Path().glob("agreement_*")
    found = figures(rows(folder / "agreement.csv")[0])
    for name in ("agreement", "agreement_top2", "cka"):
        assert found[name] == pytest.approx(1)
    for name in ("kl", "logit_distance", "correlation_frobenius", "class_means_frobenius", "teacher_beats_student"):
        assert found[name] == pytest.approx(0, abs=1e-6)
    assert found["images"] == 20


def test_a_teacher_by_its_class_and_other_data(checkpoints):
    many = agreement(
        Ensemble([CheckpointTeacher(path) for path in checkpoints[1:]], [1, 3]), checkpoints[0], fake(pixels=8), out="a"
    )
    teacher = {
        "class_path": "lightning_transfer.teachers.Ensemble",
        "init_args": {
            "teachers": [{"class_path": "CheckpointTeacher", "init_args": {"path": path}} for path in checkpoints[1:]],
            "weights": [1, 3],
        },
    }
    Path("ensemble.yaml").write_text(json.dumps({"teacher": teacher}))
    main(["agreement", "--config=ensemble.yaml", f"--ckpt_path={checkpoints[0]}", "--out=b",
          "--data=FakeData", "--data.pixels=8", "--data.image_size=32", "--data.num_workers=0"])  # fmt: skip
    assert figures(rows(many / "agreement.csv")[0]) == pytest.approx(figures(rows("b/agreement.csv")[0]))
    main(["agreement", "--teacher=CheckpointTeacher", f"--teacher.path={checkpoints[1]}",
          f"--ckpt_path={checkpoints[0]}", "--out=c"])  # fmt: skip
    assert figures(rows("c/agreement.csv")[0]) != figures(rows("b/agreement.csv")[0])


def test_students_of_unlike_data_are_refused_unless_only_the_training_differed(written, checkpoints, complaint):
    fewer = written("fewer.ckpt", fake(val_fraction=0.4, labels_per_class=2))
    other = written("other.ckpt", fake(val_fraction=0.4, pixels=8))
    flags = ["agreement", f"--teacher={checkpoints[2]}"]
    main([*flags, f"--ckpt_path=[{checkpoints[0]},{fewer}]", "--out=out"])
    assert len(rows()) == 2
    said = complaint(*flags, f"--ckpt_path=[{checkpoints[0]},{other}]")
    assert "0.ckpt was trained on data with pixels=32, other.ckpt with pixels=8; say what to measure both on" in said
    assert "labels_per_class=None" in complaint(*flags, f"--ckpt_path=[{checkpoints[0]},{fewer}]", "--split=train")
    main([*flags, f"--ckpt_path=[{checkpoints[0]},{other}]", "--out=both",
          "--data=FakeData", "--data.image_size=32", "--data.num_workers=0"])  # fmt: skip
    assert len(rows("both/agreement.csv")) == 2


class Swapped(FakeData):
    @property
    def class_names(self):
        return ["class 0", "class 2", "class 1", "class 3"]


def test_other_classes_are_refused(written, checkpoints, complaint):
    swapped = written("swapped.ckpt", fake(), FinetuneModule(
        TimmBackbone("test_resnet", pretrained=False), 4, class_names=Swapped().class_names, image_size=32
    ))  # fmt: skip
    more = written("more.ckpt", fake(num_classes=5))
    flags = ["agreement", f"--teacher={checkpoints[0]}", "--out=out"]
    sentence = "class 1 is 'class 1' for the teacher and 'class 2' for swapped.ckpt"
    assert sentence in complaint(*flags, f"--ckpt_path={swapped}")
    assert sentence in complaint(*flags, f"--ckpt_path=[{checkpoints[1]},{swapped}]")
    assert "the teacher knows 4 classes, more.ckpt has 5" in complaint(*flags, f"--ckpt_path={more}")
    with pytest.raises(ValueError, match="class 1 is 'class 1' for the teacher and 'class 2' for the data"):
        agreement(checkpoints[0], checkpoints[1], Swapped())
    timm = ["--teacher=TimmTeacher", "--teacher.name=test_resnet", "--teacher.pretrained=false"]
    assert "the teacher knows 1000 classes, the students 4" in complaint(
        "agreement", *timm, f"--ckpt_path={checkpoints[0]}"
    )
    assert not Path("out").exists()


def test_other_complaints(checkpoints, complaint):
    flags = ["agreement", f"--teacher={checkpoints[0]}", "--out=out"]
    assert "must name at least one student, and each once" in complaint(*flags, "--ckpt_path=[]")
    assert "each once" in complaint(*flags, f"--ckpt_path=[{checkpoints[1]},{checkpoints[1]}]")
    assert "--ckpt_path must be given" in complaint(*flags)
    assert "top_k=0 must be at least 1" in complaint(*flags, f"--ckpt_path={checkpoints[1]}", "--top_k=0")
    assert "'nope.ckpt' is no file" in complaint(*flags, "--ckpt_path=nope.ckpt")
    assert "teacher: ckpt_path='nope.ckpt' is no file" in complaint(
        "agreement", "--teacher=nope.ckpt", f"--ckpt_path={checkpoints[1]}"
    )
    with pytest.raises(ValueError, match="split=test: the data has train, val; choose one of these"):
        agreement(checkpoints[0], checkpoints[1], fake(test_fraction=0))
    assert not Path("out").exists()


def pictures(label):
    lines = ["path,label"]
    for i in range(24):
        Image.new("RGB", (32, 32), (10 * i, 0, 0)).save(f"{i}.png")
        lines.append(f"{i}.png,{label(i)}")
    Path("list.csv").write_text("\n".join(lines))


def test_is_of_one_class_an_image(written, checkpoints):
    pictures(lambda i: "ant|bee" if i % 2 else "bee")
    data = CsvData("list.csv", separator="|", image_size=32, num_workers=0)
    names = data.class_names
    path = written("several.ckpt", data, FinetuneModule(
        TimmBackbone("test_resnet", pretrained=False), 2, class_names=names, image_size=32, task="multi_label"
    ))  # fmt: skip
    with pytest.raises(ValueError, match=r"one class an image, but several.ckpt has task=multi_label"):
        agreement(checkpoints[0], path)


def test_unreadable_images_are_left_out_and_named(written):
    pictures(lambda i: "ant" if i % 2 else "bee")
    data = CsvData("list.csv", image_size=32, num_workers=0, on_error="skip")
    path = written("csv.ckpt", data)
    Path(data.splits()["test"].names[0]).write_text("no image")
    with pytest.warns(UserWarning, match="1 unreadable images were left out"):
        agreement(path, path, out="out")
    assert figures(rows()[0])["images"] == len(data.splits()["test"]) - 1


def test_students_are_named_by_what_tells_them_apart():
    assert short_names(["a/kd/1/best.ckpt", "a/kd/2/best.ckpt"]) == ["1", "2"]
    assert short_names(["0.ckpt", "runs/hinton/best.ckpt"]) == ["0", "runs/hinton/best"]
    assert short_names(["a/b.ckpt", "a/b/c.ckpt"]) == ["b", "b/c"]
    assert short_names(["x.ckpt", "x.pt"]) == ["x", "x"]
