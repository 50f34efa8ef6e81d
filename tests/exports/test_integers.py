import pytest
import torch

from lightning_transfer.edits import FakeQuantise
from lightning_transfer.exports import Int8Export, OnnxExport, compare
from lightning_transfer.exports.integers import in_floats, in_integers

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)


@pytest.fixture
def trained(deployed, images):
    """A model whose ranges have seen the images."""

    def make(name="test_resnet", *bits):
        model = deployed(name)
        FakeQuantise(*bits, batches=5)(model.model)
        with torch.no_grad():
            for image in images:
                model.model.train()(model.prepare(image[None]) / 255)
        model.eval()
        return model

    return make


@pytest.mark.parametrize("bits", [(8, 8), (4, 4)])
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_the_file_computes_with_the_integers_that_were_trained(trained, images, tmp_path, name, bits):
    import onnx

    model, path = trained(name, *bits), tmp_path / "model.onnx"
    OnnxExport().write(model, path)
    found = compare(model, OnnxExport().load(path), images)
    assert found.mean < (0.05 if bits[0] == 8 else 0.15) * found.spread
    graph = onnx.load(path).graph
    kinds = {node.op_type for node in graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    weights = [onnx.numpy_helper.to_array(w) for w in graph.initializer]
    assert sum(w.dtype.name == "int8" and w.ndim == 4 for w in weights) > 5


def test_its_own_ranges_are_used_and_its_floats_timed(trained, images, tmp_path):
    model, form = trained(), Int8Export()
    form.write(model, tmp_path / "q.onnx")  # without a look at any image
    timings = form.speed(model, tmp_path / "q.onnx", images[2].unsqueeze(0), rounds=2)
    assert [*timings] == ["torch float32", "onnxruntime float32", "onnxruntime int8"]
    assert not any("uantis" in type(module).__name__ for module in in_floats(model).modules())


def test_ranges_that_were_never_found_are_told(deployed):
    model = deployed()
    FakeQuantise()(model.model)
    with pytest.raises(ValueError, match="has no range, since no training batch came by"):
        in_integers(model)
