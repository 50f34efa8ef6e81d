import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.optim import AdamW
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import CsvData
from lightning_transfer.losses.supervised import CrossEntropy, MeanSquaredError, SmoothL1
from lightning_transfer.mixing import Mixup
from lightning_transfer.views import Flip

COLUMNS = ["year", "share"]


@pytest.fixture
def bright():
    """Sixty plain images: how bright one is says a year, how red it is a share."""
    generator = torch.Generator().manual_seed(0)
    rows = [("path", *COLUMNS)]
    for i, (grey, red) in enumerate(torch.rand(60, 2, generator=generator).tolist()):
        Image.new("RGB", (16, 16), (int(255 * red), int(255 * grey), int(255 * grey))).save(f"{i}.png")
        rows.append((f"{i}.png", 1900 + 100 * grey, red / 100))
    with Path("list.csv").open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    options = {"target_columns": COLUMNS, "image_size": 32, "num_workers": 0, "batch_size": 8, "cache": True}
    return CsvData("list.csv", **options)


def made(targets=2, **options):
    optim = Optim(partial(AdamW, lr=0.01), schedule=None)
    backbone = TimmBackbone("test_resnet", pretrained=False)
    return FinetuneModule(backbone, targets, optim, task="regression", **options)


def test_learns_in_units_of_its_own_and_answers_in_those_of_the_targets(trainer, bright):
    module = made(loss=SmoothL1(), class_names=COLUMNS)
    run = trainer(max_epochs=40)
    run.fit(module, bright)
    mean, deviation = bright.target_statistics
    assert torch.equal(module.model.mean, mean)
    assert torch.equal(module.model.deviation, deviation)
    (figures,) = run.test(module, bright, verbose=False)
    assert figures["test/r2"] > 0.7
    outputs = run.predict(module, bright)
    value, target = torch.cat([value for value, _ in outputs]), torch.cat([batch.target for _, batch in outputs])
    assert figures["test/mae"] == pytest.approx((value - target).abs().mean().item(), rel=1e-4)
    expected = SmoothL1()((value - mean) / deviation, (target - mean) / deviation).item()
    assert figures["test/loss"] == pytest.approx(expected, rel=1e-3)
    run.save_checkpoint("x.ckpt")
    again = FinetuneModule.load_from_checkpoint("x.ckpt").eval()
    image = next(iter(bright.test_dataloader())).image
    torch.testing.assert_close(again(image).logits, module.eval()(image).logits)
    trainer(max_steps=1).fit(again, CsvData(**{**bright.init_args, "split_seed": 3}))
    assert torch.equal(again.model.mean, mean)  # its head knows no other units


def test_units_of_the_targets_change_nothing_but_units(trainer, bright):
    rows = list(csv.reader(Path("list.csv").read_text().splitlines()))
    text = [",".join(rows[0]), *(f"{path},{1e4 * float(a) - 7},{float(b) / 9}" for path, a, b in rows[1:])]
    Path("other.csv").write_text("\n".join(text))
    other = CsvData(**{**bright.init_args, "csv": "other.csv"})
    found = []
    for data in (bright, other):
        torch.manual_seed(0)
        module, run = made(loss=MeanSquaredError()), trainer(max_epochs=2)
        run.fit(module, data)
        found.append(run.validate(module, data, verbose=False)[0])
    assert found[0]["val/loss"] == pytest.approx(found[1]["val/loss"], rel=1e-2)
    assert found[0]["val/r2"] == pytest.approx(found[1]["val/r2"], rel=1e-2, abs=1e-2)


def test_views_average_values(trainer, bright):
    module = made(test_views=[Flip()])
    run = trainer(max_epochs=1)
    run.fit(module, bright)
    outputs = run.predict(module, bright)
    image = torch.cat([batch.image for batch in bright.test_dataloader()])
    expected = (module.eval()(image).logits + module(image.flip(-1)).logits) / 2
    torch.testing.assert_close(torch.cat([value for value, _ in outputs]), expected.detach())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"loss": CrossEntropy()},
            "loss=CrossEntropy is for classification, but the targets are task=regression; MeanSq",
        ),
        ({"class_weights": "balanced"}, "class_weights is for classes, but task=regression has none"),
        ({"class_weights": {"year": 2.0}}, "class_weights is for classes"),
        ({"mixing": Mixup()}, "mixing is for classes"),
    ],
)
def test_complaints(options, message):
    with pytest.raises(ValueError, match=message):
        made(**options)


def test_losses_and_tasks_that_do_not_fit_get_a_sentence():
    backbone = TimmBackbone("test_resnet", pretrained=False)
    with pytest.raises(ValueError, match="loss=SmoothL1 is for regression, but the targets are task=classification"):
        FinetuneModule(backbone, 2, loss=SmoothL1())
    with pytest.raises(ValueError, match="task='regress' must be one of classification, multi_label, regression"):
        FinetuneModule(backbone, 2, task="regress")


@pytest.mark.parametrize("target", [torch.tensor([0, 1]), torch.rand(2), torch.rand(2, 3)])
def test_targets_of_another_shape_get_a_sentence(trainer, target):
    batch = ImageBatch(torch.rand(2, 3, 32, 32), target)
    with pytest.raises(ValueError, match=r"regression takes targets \(B, 2\) of floats, but they are"):
        trainer(max_steps=1).fit(made(), DataLoader([batch], batch_size=None))


FIT = [
    "fit", "--model=FinetuneModule", "--model.backbone=TimmBackbone", "--model.backbone.name=test_resnet",
    "--model.backbone.pretrained=false", "--data=CsvData", "--data.csv=list.csv", "--data.target_columns=[year, share]",
    "--data.image_size=32", "--data.num_workers=0", "--config=smoke",
]  # fmt: skip


def test_from_the_command_line_to_a_column_a_target_an_export_and_a_probe(bright, capsys, complaint):
    main(FIT)
    (path,) = Path("runs").rglob("best.ckpt")
    quiet = "--trainer.enable_progress_bar=false"
    main(["test", f"--ckpt_path={path}", quiet])
    assert "test/rmse" in capsys.readouterr().out
    main(["predict", f"--ckpt_path={path}", "--predictions.path=out.csv", quiet])
    rows = list(csv.DictReader(Path("out.csv").read_text().splitlines()))
    assert list(rows[0]) == ["path", *COLUMNS]
    assert len(rows) == 12
    assert all(1850 < float(row["year"]) < 2050 for row in rows)
    main(["export", f"--ckpt_path={path}", "--format=torch", "--out=x.pt2"])
    assert "the export's values differ by at most" in capsys.readouterr().out
    main(["probe", f"--ckpt_path={path}", "--out=probed"])
    (row,) = csv.DictReader(Path("probed/probe.csv").read_text().splitlines())
    assert row["probe"] == "RidgeProbe"
    assert float(row["test/r2"]) > 0.5
    assert "KnnProbe learns classification and multi_label, but the data is for regression" in complaint(
        "probe", f"--ckpt_path={path}", "--probes=[KnnProbe]"
    )
    assert "better when higher: r2" in complaint("soup", f"--ckpt_paths=[{path}]")
    main(["soup", f"--ckpt_paths=[{path}, {path}]", "--metric=r2", "--how=uniform"])


def test_complains_of_few_labels_and_classes(bright, complaint):
    assert "numbers have no classes; use fraction" in complaint(*FIT, "--data.labels_per_class=3")
    assert "class_weights is for classes" in complaint(*FIT, "--model.class_weights=balanced")
