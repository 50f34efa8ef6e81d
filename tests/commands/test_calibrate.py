import json
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.calibration import fit_temperature
from lightning_transfer.data import CsvData, FakeData
from lightning_transfer.views import Flip

QUIET = "--trainer.enable_progress_bar=false"


def trained(trainer, data, path="made.ckpt", std=0.5, rate=0.003, **options):
    torch.manual_seed(0)
    backbone = TimmBackbone("test_resnet", pretrained=False)
    optim = Optim(partial(SGD, lr=rate), schedule=None)
    module = FinetuneModule(
        backbone, data.num_classes, optim, class_names=data.class_names, image_size=32, task=data.task, **options
    )
    torch.nn.init.normal_(module.model.head.weight, std=std)
    run = trainer(max_epochs=3, limit_val_batches=0)
    run.fit(module, data)
    run.save_checkpoint(path)
    return path


@pytest.fixture
def data():
    return FakeData(image_size=32, num_workers=0, batch_size=8, val_fraction=0.4)


def on_validation(path, data):
    module = FinetuneModule.load_from_checkpoint(path).eval()
    data.setup("validate")
    batches = list(data.val_dataloader())
    with torch.no_grad():
        logits = torch.cat([module(batch.image).logits for batch in batches])
    return logits, torch.cat([batch.target for batch in batches])


def predicted(path, top_k=4):
    main(["predict", f"--ckpt_path={path}", f"--predictions.path={path}.jsonl", f"--predictions.top_k={top_k}", QUIET])
    return [json.loads(line) for line in Path(f"{path}.jsonl").read_text().splitlines()]


def test_predictions_are_those_of_logits_divided_by_the_temperature(trainer, data, capsys):
    path = trained(trainer, data)
    main(["calibrate", f"--ckpt_path={path}", "--out=new/calibrated.ckpt"])
    logits, target = on_validation(path, data)
    temperature = fit_temperature(logits, target)
    assert f"temperature {temperature:.4f}; on 20 validation images: nll " in capsys.readouterr().out
    assert abs(temperature - 1) > 0.1
    after, _ = on_validation("new/calibrated.ckpt", data)
    torch.testing.assert_close(after, logits / temperature, rtol=1e-4, atol=1e-4)
    assert fit_temperature(after, target) == pytest.approx(1, rel=1e-4)
    module = FinetuneModule.load_from_checkpoint(path).eval()
    data.setup("predict")
    with torch.no_grad():
        logits = torch.cat([module(batch.image).logits for batch in data.predict_dataloader()])
    expected = (logits / temperature).softmax(1).sort(descending=True).values
    before, rows = predicted(path), predicted("new/calibrated.ckpt")
    assert [row["class"] for row in rows] == [row["class"] for row in before]
    for row, old, probabilities in zip(rows, before, expected.tolist(), strict=True):
        found = [row["probability"], *(row[f"probability_{k}"] for k in (2, 3, 4))]
        assert found == pytest.approx(probabilities, abs=1e-4)
        assert [row[f"class_{k}"] for k in (2, 3, 4)] == [old[f"class_{k}"] for k in (2, 3, 4)]
    assert not {"optimizer_states", "callbacks"} & set(torch.load("new/calibrated.ckpt", weights_only=True))


def test_an_export_has_the_probabilities_too(trainer, data):
    path = trained(trainer, data)
    main(["calibrate", f"--ckpt_path={path}", "--out=calibrated.ckpt"])
    main(["export", "--ckpt_path=calibrated.ckpt", "--format=torch", "--out=x.pt2"])
    image = data.splits()["test"].image(0)[None]
    exported = torch.export.load("x.pt2").module()(image)
    row = predicted("calibrated.ckpt")[0]
    assert exported.max().item() == pytest.approx(row["probability"], abs=1e-3)


def test_views_are_calibrated_one_by_one(trainer, data):
    path = trained(trainer, data, test_views=[Flip()])
    main(["calibrate", f"--ckpt_path={path}", "--out=calibrated.ckpt"])
    logits, target = on_validation(path, data)
    temperature = fit_temperature(logits, target)
    plain, calibrated = (FinetuneModule.load_from_checkpoint(p).eval() for p in (path, "calibrated.ckpt"))
    image = torch.rand(3, 3, 32, 32)
    views = [plain(view).logits / temperature for view in (image, image.flip(-1))]
    expected = torch.stack([view.softmax(1) for view in views]).mean(0)
    torch.testing.assert_close(calibrated.test_logits(image).softmax(1), expected, rtol=1e-3, atol=1e-4)


def listed(**options):
    lines = ["path,label,year"]
    for i in range(40):
        Image.new("RGB", (32, 32), (120 * (i % 3), 250 - 6 * i, 2 * i)).save(f"{i}.png")
        lines.append(f"{i}.png,{'|'.join(name for k, name in enumerate('abcd') if i % (k + 2) < 2)},{i}")
    Path("list.csv").write_text("\n".join(lines))
    return CsvData("list.csv", image_size=32, num_workers=0, batch_size=8, val_fraction=0.5, **options)


def test_several_labels_an_image_keep_their_decisions(trainer):
    data = listed(separator="|")
    path = trained(trainer, data)
    main(["calibrate", f"--ckpt_path={path}", "--out=calibrated.ckpt"])
    logits, target = on_validation(path, data)
    after, _ = on_validation("calibrated.ckpt", data)
    torch.testing.assert_close(after, logits / fit_temperature(logits, target), rtol=1e-4, atol=1e-4)
    assert [row["class"] for row in predicted("calibrated.ckpt")] == [row["class"] for row in predicted(path)]


def test_complaints(trainer, data, complaint):
    path = trained(trainer, data)
    flags = ["calibrate", f"--ckpt_path={path}", "--out=no.ckpt"]
    assert "'nope.ckpt' is no file" in complaint("calibrate", "--ckpt_path=nope.ckpt")
    assert "out='x.pt' must end in .ckpt" in complaint("calibrate", f"--ckpt_path={path}", "--out=x.pt")
    assert "the data has no val split" in complaint(*flags, "--data=FakeData", "--data.val_fraction=0")
    assert "data has 5 classes" in complaint(*flags, "--data=FakeData", "--data.num_classes=5")
    assert "no temperature changes that" in complaint(
        *flags[:1], f"--ckpt_path={trained(trainer, data, 'zero.ckpt', 0, 0.0)}"
    )
    numbers = trained(trainer, listed(target_columns=["year"]), "numbers.ckpt")
    assert "task=regression, but a temperature is for" in complaint("calibrate", f"--ckpt_path={numbers}")
    assert not list(Path().rglob("no.ckpt"))
    assert not list(Path().glob("calibrate_*"))
