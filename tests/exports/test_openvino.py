import json

import pytest

from lightning_transfer.exports import OpenvinoExport, OpenvinoInt8Export, as_format, compare

for package in ("openvino", "onnx", "onnxscript", "onnxruntime"):
    pytest.importorskip(package)


def test_a_folder_answers_as_the_checkpoint(deployed, images, tmp_path):
    from lightning_transfer.exports.openvino import read

    model, form = deployed(), as_format("openvino")
    assert isinstance(form, OpenvinoExport)
    form.write(model, tmp_path / "model")
    found = compare(model, form.load(tmp_path / "model"), images)
    assert found.mean < 0.02 * found.spread
    told = read(tmp_path / "model").get_rt_info("lightning_transfer").astype(str)
    assert json.loads(told) == model.metadata()


def test_integers_answer_nearly_the_same_and_are_timed(deployed, images, tmp_path):
    pytest.importorskip("nncf")
    model, form = deployed(), as_format("openvino_int8")
    assert isinstance(form, OpenvinoInt8Export)
    with pytest.raises(ValueError, match="has no calibration images"):
        form.write(model, tmp_path / "model")
    form.see(images)
    form.write(model, tmp_path / "model")
    found = compare(model, form.load(tmp_path / "model"), images)
    assert 0 < found.mean < 0.2 * found.spread
    timings = form.speed(model, tmp_path / "model", images[2].unsqueeze(0), rounds=2)
    assert [*timings] == ["torch float32", "openvino float32", "openvino int8"]
