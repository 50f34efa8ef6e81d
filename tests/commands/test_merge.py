import sys
from pathlib import Path

import pytest
import torch

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.data import FakeData
from lightning_transfer.edits import Adapter, BitFit, LoRA

IMAGE = torch.rand(3, 3, 32, 32)


def fitted(trainer, name, *edits):
    module = FinetuneModule(TimmBackbone(name, pretrained=False), 4, edits=list(edits), image_size=32)
    run = trainer(max_epochs=2)
    run.fit(module, FakeData(image_size=32, num_workers=0))
    run.save_checkpoint("adapted.ckpt")
    return module.eval()


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_the_merged_checkpoint_computes_the_same_without_peft(name, trainer, monkeypatch):
    module = fitted(trainer, name, LoRA(rank=2))
    again = FinetuneModule.load_from_checkpoint("adapted.ckpt").eval()
    assert torch.equal(again(IMAGE).logits, module(IMAGE).logits)
    main(["merge", "--ckpt_path=adapted.ckpt", "--out=out/merged.ckpt"])
    assert [path.name for path in Path("out").iterdir()] == ["merged.ckpt"]
    for package in [key for key in sys.modules if key.partition(".")[0] == "peft"]:
        monkeypatch.setitem(sys.modules, package, None)
    merged = FinetuneModule.load_from_checkpoint("out/merged.ckpt").eval()
    assert merged.hparams["edits"] == []
    assert not any("lora" in key or "base_layer" in key for key in merged.state_dict())
    torch.testing.assert_close(merged(IMAGE).logits, module(IMAGE).logits, rtol=1e-5, atol=1e-5)


def test_it_is_tested_and_trained_further_like_any_other(trainer, capsys):
    fitted(trainer, "test_resnet", BitFit(), LoRA(rank=2))
    main(["merge", "--ckpt_path=adapted.ckpt", "--out=merged.ckpt"])
    (kept,) = torch.load("merged.ckpt", weights_only=True)["hyper_parameters"]["edits"]
    assert kept["class_path"].endswith("BitFit")
    capsys.readouterr()
    for path in ("adapted.ckpt", "merged.ckpt"):
        main(["test", f"--ckpt_path={path}", "--trainer.enable_progress_bar=false"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "test/accuracy " in line]
    assert len(lines) == 2
    assert lines[0] == lines[1]


def test_a_checkpoint_may_be_replaced_by_its_merged_self(trainer):
    module = fitted(trainer, "test_vit", LoRA(rank=2))
    main(["merge", "--ckpt_path=adapted.ckpt", "--out=adapted.ckpt"])
    merged = FinetuneModule.load_from_checkpoint("adapted.ckpt").eval()
    torch.testing.assert_close(merged(IMAGE).logits, module(IMAGE).logits, rtol=1e-5, atol=1e-5)


def test_refuses_what_cannot_be_merged_and_writes_nothing(trainer, complaint):
    fitted(trainer, "test_vit", LoRA(rank=2), Adapter(2))
    assert "Adapter cannot be merged" in complaint("merge", "--ckpt_path=adapted.ckpt", "--out=merged.ckpt")
    fitted(trainer, "test_vit", BitFit())
    text = complaint("merge", "--ckpt_path=adapted.ckpt", "--out=merged.ckpt")
    assert "holds nothing to merge: its edits (BitFit) insert no layers" in text
    assert "nope.ckpt" in complaint("merge", "--ckpt_path=nope.ckpt", "--out=merged.ckpt")
    assert not list(Path().rglob("*merged*"))
