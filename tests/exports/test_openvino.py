import json
import sys

import pytest
import torch

from lightning_transfer.exports import OpenvinoExport, OpenvinoInt8Export, as_format, compare, write_checked

pytest.importorskip("openvino")
pytest.importorskip("onnxscript")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the packages themselves


def test_float32_answers_alike_for_images_of_every_size(deployed, images, tmp_path):
    import openvino

    model, path = deployed(), tmp_path / "model"
    found = write_checked(OpenvinoExport(), model, path, images)
    assert found.mean < 0.02 * found.spread
    assert {file.name for file in path.iterdir()} == {"model.xml", "model.bin"}
    written = openvino.Core().read_model(path / "model.xml")
    assert json.loads(written.get_rt_info("lightning_transfer").astype(str)) == model.metadata()
    run = OpenvinoExport().load(path, threads=1)
    batch = torch.stack([images[0].roll(9 * i, dims=-1) for i in range(3)])
    torch.testing.assert_close(run(batch), torch.cat([run(one[None]) for one in batch]), rtol=1e-3, atol=1e-4)


def test_images_shrink_as_in_torch(deployed, images, tmp_path):
    """Without antialiasing a fifth of the values and more would be others."""
    import openvino

    model = deployed()
    OpenvinoExport().write(model, tmp_path / "model")
    network = openvino.Core().read_model(tmp_path / "model/model.xml")
    resized = next(node for node in network.get_ops() if node.get_type_name() == "Interpolate")
    network.add_outputs(resized.output(0))
    compiled = openvino.compile_model(network, "CPU")
    image = images[4][None]
    found = torch.from_numpy(compiled({"image": image.numpy()})[1])
    sides = found.shape[-2:]
    expected = torch.nn.functional.interpolate(image, tuple(sides), mode="bilinear", antialias=True)
    assert (found.int() - expected.int()).abs().max() <= 1
    assert (found != expected).float().mean() < 0.02


def test_int8_computes_with_integers_and_answers_nearly_alike(deployed, images, tmp_path, capfd):
    pytest.importorskip("nncf")
    import openvino

    model, path, form = deployed(), tmp_path / "model", OpenvinoInt8Export()
    form.see(images)
    form.write(model, path)
    found = compare(model, form.load(path), images)
    assert 0 < found.mean < 0.2 * found.spread
    nodes = openvino.Core().read_model(path / "model.xml").get_ops()
    integers = [n for n in nodes if n.get_type_name() == "Constant" and n.get_element_type().get_type_name() == "i8"]
    assert len([node for node in integers if len(node.get_output_shape(0)) == 4]) == 15
    names = [*form.speed(model, path, images[2][None], rounds=1)]
    assert names == ["torch float32", "openvino float32", "openvino int8"]


def test_complaints(monkeypatch, tmp_path):
    pytest.importorskip("nncf")
    assert isinstance(as_format("openvino_int8"), OpenvinoInt8Export)
    assert isinstance(as_format("openvino"), OpenvinoExport)
    with pytest.raises(ValueError, match="images=0 of OpenvinoInt8Export"):
        OpenvinoInt8Export(images=0)
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(ModuleNotFoundError, match=r"lightning_transfer\[openvino\]"):
        OpenvinoInt8Export()
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(ModuleNotFoundError, match=r"lightning_transfer\[openvino\]"):
        OpenvinoExport()
