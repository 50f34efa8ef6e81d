import pytest
import torch

from lightning_transfer.checkpoint import check_hyperparameters, import_class, read_checkpoint


def test_refuses_classes_of_packages_that_are_not_trusted(monkeypatch):
    nested = {
        "backbone": {"class_path": "torch.nn.Sequential", "init_args": {"x": [{"class_path": "subprocess.Popen"}]}}
    }
    with pytest.raises(ValueError, match=r"subprocess\.Popen.*LIGHTNING_TRANSFER_TRUST=subprocess"):
        check_hyperparameters(nested)
    monkeypatch.setenv("LIGHTNING_TRANSFER_TRUST", "subprocess")
    check_hyperparameters(nested)


def test_refuses_functions_given_as_text_where_a_callable_is_taken():
    hparams = {
        "_class_path": "lightning_transfer.modules.finetune.FinetuneModule",
        "backbone": "resnet18",
        "head": "os.system",
    }
    with pytest.raises(ValueError, match=r"os\.system"):
        check_hyperparameters(hparams)


def test_names_what_cannot_be_imported():
    with pytest.raises(ValueError, match=r"torch\.nn\.Lineer"):
        import_class("torch.nn.Lineer")


@pytest.mark.parametrize("content", [b"", b"no checkpoint"])
def test_says_that_a_file_is_no_checkpoint(tmp_path, content):
    path = tmp_path / "x.ckpt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.ckpt.*cannot be read as a checkpoint"):
        read_checkpoint(path)


def test_says_that_bare_weights_are_no_checkpoint(tmp_path):
    torch.save({"weight": torch.zeros(1)}, tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match="holds no state_dict"):
        read_checkpoint(tmp_path / "x.ckpt")
