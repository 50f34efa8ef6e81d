import json

import pytest
import torch
from torch import nn

from lightning_transfer import FinetuneModule
from lightning_transfer.data import EvalTransform
from lightning_transfer.edits import TokenPrompt
from lightning_transfer.exports import Deployed, OnnxExport, TimmExport, TorchExport, as_format, compare


@pytest.fixture(params=[TorchExport, OnnxExport])
def graph_format(request):
    if request.param is OnnxExport:
        for package in ("onnx", "onnxscript", "onnxruntime"):
            pytest.importorskip(package)
    return request.param


def test_short_names():
    assert isinstance(as_format("torch"), TorchExport)
    assert isinstance(as_format("timm"), TimmExport)
    fixed = TorchExport(dynamic_batch=False)
    assert as_format(fixed) is fixed


@pytest.mark.parametrize(
    ("name", "task"), [("test_resnet", "classification"), ("test_vit", "multi_label"), ("test_resnet", "regression")]
)
def test_graphs_take_images_of_any_size_and_batches_of_any_length(graph_format, deployed, images, tmp_path, name, task):
    model = deployed(name, task=task)
    path = tmp_path / f"model{graph_format.suffix}"
    form = graph_format()
    form.write(model, path)
    run = form.load(path)
    found = compare(model, run, images)
    assert found.agreeing == (None if task == "regression" else 6)
    assert found.spread > 0.1
    assert found.difference < BARS[graph_format] * found.spread
    for number in (1, 2, 5):
        batch = torch.stack([images[0].roll(9 * i, dims=-1) for i in range(number)])
        alone = torch.cat([run(one[None]) for one in batch])
        torch.testing.assert_close(run(batch), alone, rtol=1e-4, atol=1e-5)
    assert ("value" in model.metadata()) == (task == "regression")
    assert read_metadata(path) == model.metadata()


def test_graphs_have_the_prompts_in_them(graph_format, deployed, images, tmp_path):
    model = deployed("test_vit", edits=[TokenPrompt(3, deep=True)])
    with torch.no_grad():
        for block in model.model.backbone.model.blocks:
            block.prompt.normal_()  # as far from nothing as a training leads
    path = tmp_path / f"model{graph_format.suffix}"
    form = graph_format()
    form.write(model, path)
    found = compare(model, form.load(path), images)
    assert found.difference < BARS[graph_format] * found.spread


# torch runs the same kernel as the data; ONNX Runtime rounds a resized pixel the other way here and there
BARS = {TorchExport: 1e-4, OnnxExport: 1e-2}


def read_metadata(path):
    if path.suffix == ".pt2":
        files = {"metadata.json": ""}
        torch.export.load(path, extra_files=files)
        return json.loads(files["metadata.json"])
    import onnx

    return {entry.key: json.loads(entry.value) for entry in onnx.load(path).metadata_props}


def test_graphs_for_one_image_at_a_time(graph_format, deployed, images, tmp_path):
    model = deployed()
    form = graph_format(dynamic_batch=False)
    path = tmp_path / f"model{form.suffix}"
    form.write(model, path)
    run = form.load(path)
    assert compare(model, run, images).agreeing == 6
    with pytest.raises(Exception, match="(?i)dim|shape|batch|size"):  # of torch or of ONNX Runtime
        run(images[0].expand(2, -1, -1, -1))


class Own(nn.Module):
    num_features = 3

    def __init__(self, operation):
        super().__init__()
        self.operation = operation

    def forward(self, image):
        return self.operation(image.mean((2, 3)))


def brighter(embedding):
    return embedding if embedding.sum() > 1 else -embedding


def test_says_that_a_model_cannot_be_followed_or_written(graph_format, tmp_path):
    def own(operation):
        return Deployed(FinetuneModule(Own(operation), 3), EvalTransform(8))

    path = tmp_path / f"model{graph_format.suffix}"
    with pytest.raises(ValueError, match=r"torch\.export cannot follow Classifier: .*format=timm"):
        graph_format().write(own(brighter), path)
    if graph_format is OnnxExport:
        with pytest.raises(ValueError, match=r"torch\.onnx cannot write Classifier: .*format=torch can"):
            graph_format().write(own(torch.special.airy_ai), path)
    assert not path.exists()


def test_onnx_names_what_is_missing(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ModuleNotFoundError, match=r"lightning_transfer\[export\]"):
        OnnxExport()
