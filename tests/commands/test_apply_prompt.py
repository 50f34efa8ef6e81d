from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file
from torchvision.transforms.v2.functional import to_dtype

from lightning_transfer import FinetuneModule, TimmBackbone, TransferModule, VisualPromptModule
from lightning_transfer.__main__ import main
from lightning_transfer.callbacks import AdapterCheckpoint
from lightning_transfer.data import EvalTransform, FakeData, WholeTransform
from lightning_transfer.data.images import decode
from lightning_transfer.mappings import FirstMapping
from lightning_transfer.models import SourceModel
from lightning_transfer.prompts import ExtendPrompt


@pytest.fixture
def trained(trainer):
    """A prompt in a checkpoint and in a file of its own, and photos in a folder."""
    save_file(SourceModel("test_resnet", pretrained=False).model.state_dict(), "source.safetensors")
    source = SourceModel("test_resnet", pretrained="source.safetensors")
    module = VisualPromptModule(source, ExtendPrompt(4, init="uniform"), 4, FirstMapping(), image_size=32)
    run = trainer(max_epochs=1, callbacks=[AdapterCheckpoint("prompt.safetensors")])
    run.fit(module, FakeData(image_size=32, num_workers=0, eval_transform=WholeTransform))
    run.save_checkpoint("prompt.ckpt")
    Path("photos/inner").mkdir(parents=True)
    for name in ("a.jpg", "a.png", "inner/b.png"):
        noise = np.random.default_rng(len(name)).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(noise).save(f"photos/{name}")
    return module.eval()


@pytest.mark.parametrize(
    ("path", "transform"), [("prompt.ckpt", WholeTransform(32)), ("prompt.safetensors", EvalTransform(32))]
)
def test_writes_what_the_source_sees(trained, path, transform, capsys):
    main(["apply_prompt", "--prompt", path, "--images", "photos", "--out", "out"])
    written = sorted(str(p.relative_to("out")) for p in Path("out").rglob("*.png"))
    assert written == ["a.jpg.png", "a.png.png", "inner/b.png"]
    image = to_dtype(transform(decode("photos/inner/b.png")), torch.float32, scale=True)
    with torch.no_grad():
        expected = trained.model.prompt(image[None])[0].clamp(0, 1)
    found = to_dtype(decode("out/inner/b.png"), torch.float32, scale=True)
    assert found.shape == (3, 40, 40)
    torch.testing.assert_close(found, expected, rtol=0, atol=0.5 / 255 + 1e-6)


def test_one_image_and_other_data(trained):
    main([
        "apply_prompt", "--prompt=prompt.ckpt", "--images=photos/a.png", "--out=out", "--data=FakeData", "--data.num_workers=0"
    ])  # fmt: skip
    assert [str(p) for p in Path("out").rglob("*.png")] == ["out/a.png"]


def test_says_what_is_cut(trained, caplog):
    trained.model.prompt.values.data.fill_(2.0)
    from lightning_transfer.commands.apply_prompt import apply_prompt

    checkpoint = torch.load("prompt.ckpt", weights_only=True)
    checkpoint["state_dict"]["model.prompt.values"].fill_(2.0)
    torch.save(checkpoint, "prompt.ckpt")
    with caplog.at_level("INFO"):
        apply_prompt("prompt.ckpt", "photos", "out")
    assert f"{1 - (32 / 40) ** 2:.1%} of the values lay outside [0, 1]" in caplog.text


def test_complains(trained, trainer, complaint):
    given = ["--images=photos", "--out=out"]
    assert "is no file" in complaint("apply_prompt", "--prompt=nope.ckpt", *given)
    assert "images='nope' is neither" in complaint("apply_prompt", "--prompt=prompt.ckpt", "--images=nope", "--out=out")
    run = trainer(max_steps=1)
    run.strategy.connect(FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4))
    run.save_checkpoint("tuned.ckpt")
    TransferModule.load_from_checkpoint("tuned.ckpt")
    assert "holds a FinetuneModule without a prompt of pixels" in complaint(
        "apply_prompt", "--prompt=tuned.ckpt", *given
    )


def test_a_prompt_of_the_command_line(trained):
    """Whose hyper-parameters hold what the command line links, whether the module takes it or not."""
    main([
        "fit", "--model=VisualPromptModule", "--model.source=SourceModel", "--model.source.name=test_resnet",
        "--model.source.pretrained=source.safetensors", "--model.prompt=FramePrompt", "--model.mapping=FirstMapping", "--data=FakeData",
        "--data.image_size=32", "--data.num_workers=0", "--config=smoke", "--trainer.callbacks+=AdapterCheckpoint",
    ])  # fmt: skip
    (adapter,) = Path("runs").rglob("adapter.safetensors")
    main(["apply_prompt", "--prompt", str(adapter), "--images=photos/a.png", "--out=out"])
    assert Path("out/a.png").is_file()
