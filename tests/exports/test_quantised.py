from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from timm.layers.conv2d_same import Conv2dSame
from torch import nn

from lightning_transfer.edits import FakeQuantise
from lightning_transfer.exports import Int8Export, OnnxExport, TorchExport, compare, write_checked
from lightning_transfer.exports.quantised import in_floats, in_integers, is_quantised
from lightning_transfer.quantisation import ActivationQuantiser, QuantisedLayer, weight_scale
from lightning_transfer.quantisation.layer import quantised_layers

for package in ("onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)


def as_onnx(network, image, path):
    """What ONNX Runtime makes of a network's integers, and the kernels that it takes."""
    import onnx
    import onnxruntime

    network = in_integers(SimpleNamespace(model=nn.Sequential(network))).model.eval()
    program = torch.onnx.export(torch.export.export(network, (image,)), dynamo=True, external_data=False, verbose=False)
    program.save(path)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")  # exact also where the processor lacks VNNI
    options.optimized_model_filepath = str(path.with_suffix(".run.onnx"))
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    found = torch.from_numpy(session.run(None, {session.get_inputs()[0].name: image.numpy()})[0])
    return found, Counter(node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node)


def dead(layer):
    """A channel whose weights are zero and whose bias is not, as of a norm that scales to zero; one with weights next to nothing."""
    with torch.no_grad():
        layer.weight[0], layer.weight[1] = 0, 1e-9
        layer.bias[:2] = torch.tensor([0.7, -0.4])
    return layer


LAYERS = {
    "plain": lambda: nn.Conv2d(6, 8, 3, padding=1),
    "no bias": lambda: nn.Conv2d(6, 8, 1, bias=False),
    "depthwise": lambda: nn.Conv2d(6, 6, 3, groups=6, padding=1),
    "same": lambda: Conv2dSame(6, 8, 3, stride=2),
    "dead": lambda: dead(nn.Conv2d(6, 8, 3)),
}


@pytest.mark.parametrize("bits", [(8, 8), (7, 8), (4, 5)])
@pytest.mark.parametrize("kind", LAYERS)
def test_a_convolution_of_integers_equals_the_rounded_one_up_to_one_step(kind, bits, tmp_path):
    layer = QuantisedLayer(LAYERS[kind](), bits[0], ActivationQuantiser(bits[1]), ActivationQuantiser(bits[1]))
    image = torch.randn(2, 6, 9, 9)
    with torch.no_grad():
        layer.train()(image)
        expected = layer.eval()(image)
    found, kernels = as_onnx(layer, image, tmp_path / "layer.onnx")
    assert kernels["QLinearConv"] == (1 if bits[1] == 8 else 0)
    step = layer.behind.grid()[0]
    assert (found - expected).abs().max() <= 1.01 * step
    assert (
        (found - expected).abs() > 0.01 * step
    ).float().mean() < 0.02  # where a value is in the middle of two numbers


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", [(5, 12), (2, 5, 12)])
def test_a_product_of_integers_equals_the_rounded_one(shape, bias, tmp_path):
    layer = QuantisedLayer(nn.Linear(12, 7, bias=bias), 8, ActivationQuantiser())
    x = torch.randn(shape)
    with torch.no_grad():
        layer.train()(x)
        expected = layer.eval()(x)
    found, kernels = as_onnx(layer, x, tmp_path / "layer.onnx")
    assert kernels["QGemm"] + kernels["MatMulIntegerToFloat"] == 1
    unit = weight_scale(layer.base.weight, 8) * layer.before.grid()[0]  # a bias is a multiple of it
    assert ((found - expected).abs() <= 0.51 * bias * unit + 1e-5).all()


def trained(deployed, images, name="test_resnet"):
    """As `FakeQuantise` leaves a model after a batch."""
    model = deployed(name)
    FakeQuantise()(model.model)
    pixels = torch.cat([model.prepare(image[None]) for image in images]) / 255
    with torch.no_grad():
        model.model.train()(pixels)
    model.eval()
    return model


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_a_network_is_written_with_integers_and_answers_alike(deployed, images, tmp_path, name):
    import onnx

    model = trained(deployed, images, name)
    path = tmp_path / "model.onnx"
    write_checked(OnnxExport(), model, path, images, tolerance=0.2)  # at random weights what one step changes grows
    graph = onnx.load(path).graph
    weights = [w for w in graph.initializer if w.data_type == onnx.TensorProto.INT8 and len(w.dims) == 4]
    assert len(weights) == sum(isinstance(m, QuantisedLayer) and isinstance(m.base, nn.Conv2d) for m in model.modules())
    assert not any(
        w.data_type == onnx.TensorProto.FLOAT and len(w.dims) == 4 and max(w.dims) > 1 for w in graph.initializer
    )
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in graph.node}
    twin = in_floats(model)
    assert not is_quantised(twin)
    assert is_quantised(model)
    assert not any(isinstance(m, ActivationQuantiser) for m in twin.model.modules())
    with torch.no_grad():
        assert (twin(images[0][None]) - model(images[0][None])).abs().max() > 0


def test_int8_writes_what_was_trained_without_looking_at_images(deployed, images, tmp_path):
    model, form = trained(deployed, images), Int8Export(reduce_range=False)
    form.write(model, tmp_path / "a.onnx")
    OnnxExport().write(model, tmp_path / "b.onnx")
    first, second = (OnnxExport().load(tmp_path / name) for name in ("a.onnx", "b.onnx"))
    assert torch.equal(first(images[0][None]), second(images[0][None]))
    assert [*form.speed(model, tmp_path / "a.onnx", images[2][None], rounds=1)] == [
        "torch float32", "onnxruntime float32", "onnxruntime int8",
    ]  # fmt: skip


def test_int8_says_where_eight_bits_overflow(deployed, images, tmp_path):
    model = trained(deployed, images)
    with pytest.warns(UserWarning, match=r"weights of 8 bits, with which \S+ was trained, .*weight_bits=7"):
        Int8Export(reduce_range=True).write(model, tmp_path / "a.onnx")
    for layer in quantised_layers(model.model).values():
        layer.bits = 7
    Int8Export(reduce_range=True).write(model, tmp_path / "b.onnx")


def test_torch_writes_the_rounding_itself(deployed, images, tmp_path):
    model = trained(deployed, images)
    TorchExport().write(model, tmp_path / "m.pt2")
    assert compare(model, TorchExport().load(tmp_path / "m.pt2"), images).difference < 0.01


def test_what_saw_no_batch_cannot_be_written(deployed, tmp_path):
    model = deployed()
    FakeQuantise()(model.model)
    with pytest.raises(ValueError, match=r"backbone\..* has no range, since no training batch came by"):
        OnnxExport().write(model, tmp_path / "m.onnx")
