import pytest
import torch

from lightning_transfer.exports import TimmExport, TorchExport, write_checked


class Broken(TorchExport):
    """Forgets one weight."""

    def write(self, model, path):
        weight = model.model.head.weight
        kept = weight.detach().clone()
        torch.nn.init.zeros_(weight[0].detach())
        super().write(model, path)
        weight.data.copy_(kept)


def test_puts_a_checked_file_in_its_place(deployed, images, tmp_path):
    out = tmp_path / "new/model.pt2"
    found = write_checked(TorchExport(), deployed(), out, images)
    assert found.agreeing == found.images == 6
    assert [path.name for path in out.parent.iterdir()] == ["model.pt2"]
    write_checked(TorchExport(), deployed(size=32), out, images)  # a file is replaced
    write_checked(TimmExport(), deployed(), tmp_path / "folder", images)
    assert {path.name for path in (tmp_path / "folder").iterdir()} == {"config.json", "model.safetensors"}


def test_a_broken_export_is_refused_and_leaves_nothing(deployed, images, tmp_path):
    (tmp_path / "model.pt2").write_text("an earlier one")
    with pytest.raises(ValueError, match=r"differ by at most .*more than tolerance=0\.02.*nothing was written"):
        write_checked(Broken(), deployed(), tmp_path / "model.pt2", images)
    assert (tmp_path / "model.pt2").read_text() == "an earlier one"
    assert len(list(tmp_path.iterdir())) == 1


def test_an_interrupted_export_leaves_nothing(deployed, images, tmp_path):
    class Interrupted(TorchExport):
        def write(self, model, path):
            path.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_checked(Interrupted(), deployed(), tmp_path / "model.pt2", images)
    assert not list(tmp_path.iterdir())


def test_complains_of_names_and_tolerances(deployed, images, tmp_path):
    model = deployed()
    with pytest.raises(ValueError, match=r"must end in \.pt2"):
        write_checked(TorchExport(), model, tmp_path / "model.onnx", images)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").write_text("")
    with pytest.raises(ValueError, match="folder that holds something"):
        write_checked(TimmExport(), model, tmp_path / "full", images)
    with pytest.raises(ValueError, match="TimmExport writes a folder"):
        write_checked(TimmExport(), model, tmp_path / "full/x", images)
    with pytest.raises(ValueError, match=r"tolerance=1 must lie in \[0, 1\)"):
        write_checked(TorchExport(), model, tmp_path / "model.pt2", images, tolerance=1)
