from pathlib import Path

import pytest
import timm
import torch
from PIL import Image
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.commands.export import export
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import FakeData
from lightning_transfer.exports.checkpoint import open_checkpoint


@pytest.fixture
def ckpt(trainer, tmp_path):
    module = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, image_size=32)
    run = trainer(max_epochs=2)
    run.fit(module, FakeData(image_size=32, num_workers=0))
    run.save_checkpoint(tmp_path / "x.ckpt")
    return str(tmp_path / "x.ckpt")


@pytest.mark.parametrize(
    ("name", "out"),
    [
        ("onnx", "model.onnx"), ("int8", "q.onnx"), ("torch", "model.pt2"), ("timm", "model"), ("openvino", "ir"),
        ("openvino_int8", "ir"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("ignore::DeprecationWarning:openvino|nncf")
def test_writes_a_checkpoint_and_says_how_far_it_agrees(ckpt, capsys, name, out):
    if name in ("onnx", "int8"):
        pytest.importorskip("onnxruntime")
    if "openvino" in name:
        pytest.importorskip("nncf")
    few = ["--rounds=2", "--judged_on=5"]
    main(["export", f"--ckpt_path={ckpt}", f"--format={name}", f"--out={out}", *few])
    text = capsys.readouterr().out
    assert f"{out}: " in text
    assert "on 13 images the export's probabilities differ by at most" in text  # the test split: a fifth of 64
    assert "the class is the same for 13" in text or "int8" in name
    runtime = {"int8": "onnxruntime", "openvino_int8": "openvino"}.get(name)
    assert (" times as fast as torch float32, " in text) == (runtime is not None)
    assert (f" times as fast as {runtime} float32; " in text) == (runtime is not None)
    assert ("metrics on 5 test images" in text) == (runtime is not None)
    assert Path(out).exists()


def test_compares_on_images_that_are_given(ckpt, capsys, images_folder):
    main(["export", f"--ckpt_path={ckpt}", "--format=TorchExport", "--format.dynamic_batch=false", "--out=m.pt2",
          f"--images={images_folder}", "--num_images=3"])  # fmt: skip
    assert "on 3 images" in capsys.readouterr().out


@pytest.fixture
def images_folder(tmp_path):
    (tmp_path / "photos").mkdir()
    for i in range(5):
        pixels = torch.randint(0, 256, (3, 4, 3), dtype=torch.uint8).permute(1, 2, 0).numpy()
        Image.fromarray(pixels).resize((40 + i, 60)).save(tmp_path / f"photos/{i}.png")
    return tmp_path / "photos"


def test_images_are_taken_evenly(ckpt, images_folder):
    _, images = open_checkpoint(ckpt, str(images_folder), num_images=3)
    assert [image.shape[-1] for image in images] == [40, 42, 44]


def test_refuses_what_disagrees_and_leaves_nothing(ckpt, complaint, monkeypatch):
    monkeypatch.setattr("lightning_transfer.exports.torch.TorchExport.load", lambda *_: lambda image: torch.rand(1, 4))
    text = complaint("export", f"--ckpt_path={ckpt}", "--format=torch", "--out=m.pt2")
    assert "more than tolerance=0.02" in text
    assert not [path for path in Path().iterdir() if "m.pt2" in path.name]


def test_complains_in_sentences(ckpt, complaint, trainer):
    assert "images='nope' is neither" in complaint(
        "export", f"--ckpt_path={ckpt}", "--format=torch", "--out=m.pt2", "--images=nope"
    )
    assert "must end in .pt2" in complaint("export", f"--ckpt_path={ckpt}", "--format=torch", "--out=m.onnx")
    assert "is no file" in complaint("export", "--ckpt_path=nope", "--format=torch", "--out=m.pt2")
    assert "num_images=0" in complaint(
        "export", f"--ckpt_path={ckpt}", "--format=torch", "--out=m.pt2", "--num_images=0"
    )
    assert "judged_on=-1 must not be negative" in complaint(
        "export", f"--ckpt_path={ckpt}", "--format=torch", "--out=m.pt2", "--judged_on=-1"
    )
    assert "'jpeg' names no class" in complaint("export", f"--ckpt_path={ckpt}", "--format=jpeg", "--out=m.pt2")


def test_complains_of_flags(complaint):
    assert "error: --format, --out must be given" in complaint("export", "--ckpt_path=x")
    assert "--imges=y; `lightning-transfer export --help` lists all keys" in complaint(
        "export", "--ckpt_path=x", "--format=timm", "--out=m", "--imges=y"
    )
    assert "OnnxExport has no argument 'dynamc'; did you mean 'dynamic_batch'?" in complaint(
        "export", "--ckpt_path=x", "--format=OnnxExport", "--format.dynamc=false", "--out=m.onnx"
    )


def test_a_checkpoint_that_knows_no_data_asks_for_it(complaint, trainer):
    batch = ImageBatch(torch.rand(8, 3, 32, 32), torch.arange(8) % 4)
    run = trainer(max_steps=1)
    run.fit(FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4), DataLoader([batch], batch_size=None))
    run.save_checkpoint("x.ckpt")
    words = ["export", "--ckpt_path=x.ckpt", "--format=timm", "--out=model"]
    assert "does not say how they are prepared" in complaint(*words)
    main([*words, "--data=FakeData", "--data.image_size=32"])
    assert timm.create_model("local-dir:model", pretrained=True).num_classes == 4


def test_images_that_are_gone_can_be_replaced(capsys, trainer, images_folder):
    from lightning_transfer.data import FolderData

    for name in ("ant", "bee"):
        Path("x", name).mkdir(parents=True)
        for i in range(8):
            Image.new("RGB", (32, 32), (30 * i, 0, 99)).save(f"x/{name}/{i}.png")
    run = trainer(max_steps=1)
    run.fit(
        FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 2), FolderData("x", image_size=32, num_workers=0)
    )
    run.save_checkpoint("x.ckpt")
    Path("x").rename("y")
    with pytest.raises(
        FileNotFoundError, match=r"no images to compare .* data\.root='x' is no folder.*--images FOLDER"
    ):
        export("x.ckpt", "timm", "model")
    export("x.ckpt", "timm", "model", images=str(images_folder), num_images=4)
    assert "on 4 images" in capsys.readouterr().out
