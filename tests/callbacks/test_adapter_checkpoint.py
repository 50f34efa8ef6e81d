from pathlib import Path

import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from lightning_transfer import FinetuneModule, TimmBackbone, load_adapter
from lightning_transfer.__main__ import main
from lightning_transfer.callbacks import AdapterCheckpoint
from lightning_transfer.data import FakeData
from lightning_transfer.edits import Adapter, BitFit, FreezeBackbone, LoRA, TokenPrompt

IMAGE = torch.rand(3, 3, 32, 32)


def source(name, path="source.safetensors"):
    """Weights as of a pretraining, in a file."""
    save_file(TimmBackbone(name, pretrained=False).model.state_dict(), path)
    return path


def fit(trainer, name="test_vit", edits=(), epochs=1, callbacks=(), ckpt_path=None, **options):
    backbone = TimmBackbone(name, pretrained=options.pop("pretrained", None) or source(name))
    module = FinetuneModule(backbone, 4, edits=list(edits), image_size=32)
    callbacks = [AdapterCheckpoint("adapter.safetensors"), *callbacks]
    run = trainer(max_epochs=epochs, callbacks=callbacks, **options)
    run.fit(module, FakeData(image_size=32), ckpt_path=ckpt_path, **({"weights_only": True} if ckpt_path else {}))
    return module.eval(), run


@pytest.mark.parametrize(
    ("name", "edit"),
    [
        ("test_vit", LoRA(rank=2)),
        ("test_resnet", Adapter(2)),
        ("test_resnet", BitFit()),
        ("test_vit", TokenPrompt(2, deep=True)),
    ],
)
def test_the_file_holds_what_trained_and_brings_the_module_back(trainer, name, edit):
    module, _ = fit(trainer, name, [edit])
    trained = {n for n, p in module.named_parameters() if p.requires_grad}
    assert load_file("adapter.safetensors").keys() == trained
    again = load_adapter("adapter.safetensors").eval()
    assert torch.equal(again(IMAGE).logits, module(IMAGE).logits)
    assert {n for n, p in again.named_parameters() if p.requires_grad} == trained
    assert not list(Path().glob(".*.partial"))


def test_statistics_that_moved_are_in_it_and_those_that_did_not_are_not(trainer):
    module, _ = fit(trainer, "test_resnet")
    assert load_file("adapter.safetensors").keys() >= {n for n in module.state_dict() if "running_" in n}
    assert torch.equal(load_adapter("adapter.safetensors").eval()(IMAGE).logits, module(IMAGE).logits)
    fit(trainer, "test_resnet", [FreezeBackbone()])
    assert load_file("adapter.safetensors").keys() == {"model.head.weight", "model.head.bias"}


def test_another_base_is_refused(trainer):
    fit(trainer, edits=[LoRA(rank=2)])
    source("test_vit")  # other random weights at the same place
    with pytest.raises(ValueError, match=r"another base than name='test_vit', pretrained='source\.safetensors'"):
        load_adapter("adapter.safetensors")


def test_a_base_of_random_weights_is_refused(trainer):
    backbone = TimmBackbone("test_vit", pretrained=False)
    run = trainer(max_epochs=1, callbacks=[AdapterCheckpoint("adapter.safetensors")])
    run.fit(FinetuneModule(backbone, 4, edits=[BitFit()], image_size=32), FakeData(image_size=32))
    with pytest.raises(ValueError, match="pretrained=False.*keep the checkpoint"):
        load_adapter("adapter.safetensors")


def test_a_base_that_moved_elsewhere_is_given(trainer):
    module, _ = fit(trainer, edits=[LoRA(rank=2)])
    Path("source.safetensors").rename("elsewhere.safetensors")
    with pytest.raises(ValueError, match=r"cannot be built: pretrained='source\.safetensors' is no file"):
        load_adapter("adapter.safetensors")
    backbone = TimmBackbone("test_vit", pretrained="elsewhere.safetensors")
    again = load_adapter("adapter.safetensors", backbone=backbone).eval()
    assert torch.equal(again(IMAGE).logits, module(IMAGE).logits)


def test_it_is_the_best_checkpoint_and_not_the_last(trainer):
    best = ModelCheckpoint("ckpt", monitor="epoch", mode="min")  # the first
    module, run = fit(trainer, "test_resnet", [BitFit()], 4, [best], enable_checkpointing=True)
    kept = FinetuneModule.load_from_checkpoint(run.checkpoint_callback.best_model_path).eval()
    again = load_adapter("adapter.safetensors").eval()
    assert torch.equal(again(IMAGE).logits, kept(IMAGE).logits)
    assert not torch.equal(again(IMAGE).logits, module(IMAGE).logits)


def test_a_resumed_run_compares_with_where_the_first_began(trainer):
    _, run = fit(trainer, "test_resnet")
    run.save_checkpoint("first.ckpt")
    first = load_file("adapter.safetensors").keys()
    # as the command line does, the module to be resumed starts from anything
    module, _ = fit(
        trainer, "test_resnet", epochs=2, ckpt_path="first.ckpt", pretrained=source("test_resnet", "x.safetensors")
    )
    assert load_file("adapter.safetensors").keys() == first
    with safe_open("adapter.safetensors", "pt") as file:
        assert set(file.metadata()) == {"hyper_parameters", "base_sha256"}
    again = load_adapter("adapter.safetensors", backbone=TimmBackbone("test_resnet", "source.safetensors")).eval()
    assert torch.equal(again(IMAGE).logits, module(IMAGE).logits)


def test_by_name_on_the_command_line(capsys):
    source("test_resnet")
    main(
        [
            "fit",
            "--model=FinetuneModule",
            "--model.backbone=TimmBackbone",
            "--model.backbone.name=test_resnet",
            "--model.backbone.pretrained=source.safetensors",
            "--model.edits+=LoRA",
            "--model.edits.rank=2",
            "--data=FakeData",
            "--data.image_size=32",
            "--data.num_workers=0",
            "--config=smoke",
            "--trainer.callbacks+=AdapterCheckpoint",
        ]
    )
    (path,) = Path("runs").rglob("adapter.safetensors")
    assert (path.parent / "best.ckpt").stat().st_size > 3 * path.stat().st_size
    best = FinetuneModule.load_from_checkpoint(path.parent / "best.ckpt").eval()
    assert torch.equal(load_adapter(path).eval()(IMAGE).logits, best(IMAGE).logits)


def test_refuses_another_ending():
    with pytest.raises(ValueError, match=r"must end in \.safetensors"):
        AdapterCheckpoint("adapter.ckpt")
