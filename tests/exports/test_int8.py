import json
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from lightning_transfer.exports import Int8Export, as_format, compare, integer

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)


def test_convolutions_are_those_of_integers_and_answers_nearly_the_same(deployed, images, tmp_path):
    import onnx

    model, path = deployed(), tmp_path / "model.onnx"
    form = Int8Export()
    form.see(images)
    form.write(model, path)
    run = form.load(path)
    found = compare(model, run, images)
    assert 0 < found.difference < 0.25 * found.spread
    graph = onnx.load(path)
    assert {entry.key: json.loads(entry.value) for entry in graph.metadata_props} == model.metadata()
    weights = {w.name: onnx.numpy_helper.to_array(w) for w in graph.graph.initializer}
    quantised = [w for w in weights.values() if w.dtype.name == "int8" and w.ndim == 4]
    assert len(quantised) == 15
    limit = 64 if form.reduce_range else 127
    assert max(abs(w.astype(int)).max() for w in quantised) <= limit
    scales = [node.input[1] for node in graph.graph.node if node.op_type == "DequantizeLinear"]
    assert sum(weights[name].ndim == 1 for name in scales if name in weights) >= len(quantised)  # one a channel
    assert "BatchNormalization" not in {node.op_type for node in graph.graph.node}
    order = [node.op_type for node in graph.graph.node if node.op_type in ("Conv", "Relu", "QuantizeLinear")]
    assert "Relu" not in "".join(order).split("Conv")[1]  # what a ReLU cuts off is not rounded
    batch = torch.stack([images[0].roll(9 * i, dims=-1) for i in range(3)])
    torch.testing.assert_close(run(batch), torch.cat([run(one[None]) for one in batch]), rtol=1e-3, atol=1e-4)
    timings = form.speed(model, path, images[2].unsqueeze(0), rounds=2)
    assert [*timings] == ["torch float32", "onnxruntime float32", "onnxruntime int8"]


def test_seven_bits_where_the_processor_lacks_the_instruction(monkeypatch, tmp_path):
    for text, lacks in (("flags : avx2", True), ("flags : avx512_vnni", False), ("Features : asimd", False)):
        file = tmp_path / "cpuinfo"
        file.write_text(text)
        monkeypatch.setattr(integer, "_CPU_FLAGS", file)
        assert integer.lacks_vnni() is lacks
    assert as_format("int8").tolerance == 0.2
    assert not Int8Export(reduce_range=False).reduce_range


def test_complaints(tmp_path):
    with pytest.raises(ValueError, match="images=0 of Int8Export"):
        Int8Export(images=0)
    with pytest.raises(ValueError, match="no calibration images"):
        Int8Export().write(SimpleNamespace(model=nn.Identity()), tmp_path / "x.onnx")
