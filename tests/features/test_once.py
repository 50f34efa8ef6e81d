from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_transfer import ImageTextModule, TimmBackbone
from lightning_transfer.contracts import Features
from lightning_transfer.data import CsvData, EvalTransform
from lightning_transfer.features.texts import TextOutputs
from lightning_transfer.models import ImageTextModel
from lightning_transfer.text_towers import TransformerTower


def module():
    backbone, tower = TimmBackbone("test_resnet", pretrained=False), TransformerTower(width=16, depth=1, heads=2)
    return ImageTextModule(backbone, tower, dim=8, lock_image=True, lock_text=True)


def test_unreadable_files_are_left_out_of_every_epoch(trainer):
    rows = ["path,label,said"]
    for i in range(20):
        Image.new("RGB", (32, 32), (10 * i, 99, 0)).save(f"{i}.png")
        rows.append(f"{i}.png,{'ab'[i % 2]},number {i}")
    Path("3.png").write_bytes(b"torn")
    Path("x.csv").write_text("\n".join(rows))
    data = CsvData(
        "x.csv", caption_column="said", image_size=32, num_workers=0, batch_size=30, on_error="skip", val_fraction=0,
        test_fraction=0, train_transform=EvalTransform,
    )  # fmt: skip
    seen = []
    made = module()
    encode = made.encode
    made.encode = lambda batch: seen.append(sorted(batch.indices.tolist())) or encode(batch)
    with pytest.warns(UserWarning, match="3.png"):
        trainer(max_epochs=2, limit_val_batches=0).fit(made, data)
    assert seen == [[i for i in range(20) if i != 3]] * 2


def test_each_text_is_read_once():
    class Counting(TransformerTower):
        read = 0

        def encode(self, entries, tokens):
            Counting.read += len(entries)
            return super().encode(entries, tokens)

    class Flat(torch.nn.Module):
        num_features = 3

        def forward(self, image):
            return Features(image.mean(dim=(2, 3)))

    tower = Counting(width=16, depth=1, heads=2).eval()
    model = ImageTextModel(Flat(), tower, 8)
    outputs = TextOutputs()
    first = outputs(model, ["a", "bb", "a"])
    again = outputs(model, ["ccc", "a"])
    assert Counting.read == 3
    assert torch.equal(first[0], first[2])
    assert torch.equal(again[1], first[0])
    torch.testing.assert_close(outputs(model, ["bb"])[0], tower(tower.tokenize(["bb"]))[0])
