import csv
from pathlib import Path

import pytest
import torch

from lightning_transfer import TransferModule, ZeroShotModule
from lightning_transfer.__main__ import main
from lightning_transfer.commands.zero_shot_head import zero_shot_head
from lightning_transfer.data import FakeData

IMAGE = torch.rand(3, 3, 32, 32)
DATA = ["--data=FakeData", "--data.image_size=32", "--data.num_workers=0"]


def test_says_what_the_zero_shot_module_says_also_without_its_source(pairs):
    data = FakeData(image_size=32, num_workers=0)
    zero = ZeroShotModule(pairs, class_names=data.class_names, templates="drawings", words={"class 1": "bee"}).eval()
    path = zero_shot_head(pairs, data, "drawings", {"class 1": "bee"}, "zero.ckpt")
    Path(pairs).unlink()
    made = TransferModule.load_from_checkpoint(path).eval()
    torch.testing.assert_close(made(IMAGE).logits, zero(IMAGE).logits, atol=1e-5, rtol=0)
    assert made.class_names == data.class_names
    assert not made.model.head.bias.any()


def test_fine_tuning_begins_with_it_and_wise_ft_lies_between(pairs):
    main(["zero_shot_head", f"--image_text={pairs}", *DATA, "--out=zero.ckpt"])
    start = ["--model=FinetuneModule", "--model.backbone=ImageTextBackbone", f"--model.backbone.image_text={pairs}",
             "--model.edits+=StartFrom", "--model.edits.ckpt_path=zero.ckpt", "--model.edits.parameters=."]  # fmt: skip
    main(["fit", *start, *DATA, "--config=smoke", "--trainer.default_root_dir=tuned"])
    main(["wise_ft", "--tuned=tuned/best.ckpt", "--source=zero.ckpt", "--alphas=[0,0.5,1]", "--out=wise.ckpt"])
    assert len(list(csv.DictReader(Path("wise.csv").read_text().splitlines()))) == 3
    for alpha, path in ((0, "zero.ckpt"), (1, "tuned/best.ckpt")):
        main(["wise_ft", "--tuned=tuned/best.ckpt", "--source=zero.ckpt", f"--alphas=[{alpha}]", "--out=end.ckpt"])
        end, expected = (TransferModule.load_from_checkpoint(p).state_dict() for p in ("end.ckpt", path))
        assert all(torch.equal(end[name], value) for name, value in expected.items())


def test_refuses(pairs, complaint):
    assert "out='x.pt' must end in .ckpt" in complaint("zero_shot_head", f"--image_text={pairs}", *DATA, "--out=x.pt")
    assert "words names ['cat'], but the classes are" in complaint(
        "zero_shot_head", f"--image_text={pairs}", *DATA, "--words={cat: kitten}"
    )
    with pytest.raises(ValueError, match="templates='no' names no list"):
        zero_shot_head(pairs, FakeData(image_size=32), "no")
