import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import timm
import torch
from huggingface_hub import HfApi

from lightning_transfer import FinetuneModule, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.data import FakeData


@pytest.fixture
def module(trainer):
    module = FinetuneModule(
        TimmBackbone("test_resnet", pretrained=False), 4, image_size=32, class_names=[f"class {k}" for k in range(4)]
    )
    run = trainer(max_epochs=2)
    run.fit(module, FakeData(image_size=32, num_workers=0))
    run.save_checkpoint("x.ckpt")
    return module.eval()


class Repo(str):
    repo_id = "user/name"


@pytest.fixture
def hub(monkeypatch):
    """A hub that is a folder."""
    calls = SimpleNamespace(has_card=False, private=None)

    def create_repo(self, repo_id, private, exist_ok):
        calls.private = private
        return Repo(f"https://hub/{repo_id}")

    monkeypatch.setattr(HfApi, "whoami", lambda self: {"name": "user"})
    monkeypatch.setattr(HfApi, "create_repo", create_repo)
    monkeypatch.setattr(HfApi, "file_exists", lambda self, repo_id, filename: calls.has_card)
    monkeypatch.setattr(
        HfApi, "upload_folder", lambda self, repo_id, folder_path, commit_message: shutil.copytree(folder_path, "hub")
    )
    return calls


def test_what_is_pushed_is_a_backbone_and_a_model_of_timm(module, hub, capsys):
    main(["push", "--ckpt_path=x.ckpt", "--repo=user/name", "--private=true"])
    assert "https://hub/user/name: on 13 images" in capsys.readouterr().out
    assert hub.private is True
    image = torch.rand(2, 3, 32, 32)
    backbone = TimmBackbone("local-dir:hub").eval()
    torch.testing.assert_close(backbone(image).embedding, module(image).features.embedding)
    network = timm.create_model("local-dir:hub", pretrained=True).eval()
    torch.testing.assert_close(network((image - backbone.mean) / backbone.std), module(image).logits)
    card = Path("hub/README.md").read_text()
    assert "library_name: timm" in card
    assert "test_resnet, adapted by transfer learning to 4 classes: class 0, class 1, class 2, class 3." in card
    assert 'timm.create_model("hf-hub:user/name", pretrained=True)' in card


def test_a_pulled_model_is_trained_further_and_its_folder_may_go(module, hub, capsys):
    main(["push", "--ckpt_path=x.ckpt", "--repo=user/name"])
    main(["fit", "--model=FinetuneModule", "--model.backbone=TimmBackbone", "--model.backbone.name=local-dir:hub",
          "--data=FakeData", "--data.image_size=32", "--data.num_classes=3", "--data.num_workers=0",
          "--config=smoke"])  # fmt: skip
    Path("hub").rename("elsewhere")
    (path,) = Path("runs").rglob("best.ckpt")
    main(["test", f"--ckpt_path={path}", "--trainer.enable_progress_bar=false"])
    assert "test/accuracy" in capsys.readouterr().out


def test_a_card_that_is_there_stays(module, hub):
    hub.has_card = True
    main(["push", "--ckpt_path=x.ckpt", "--repo=user/name"])
    assert not Path("hub/README.md").exists()


def test_says_in_a_sentence_that_there_is_no_hub_or_no_token(capsys):
    with pytest.raises(SystemExit) as stop:  # tests are offline
        main(["push", "--ckpt_path=x.ckpt", "--repo=user/name"])
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert "repo='user/name' cannot be pushed to" in text
    assert "hf auth login" in text
    assert "export --format timm" in text


def test_says_that_an_upload_failed(module, hub, monkeypatch, capsys):
    def refuse(*_, **__):
        raise PermissionError("403 Forbidden: write access is needed")

    monkeypatch.setattr(HfApi, "upload_folder", refuse)
    with pytest.raises(SystemExit):
        main(["push", "--ckpt_path=x.ckpt", "--repo=user/name"])
    assert "cannot be pushed to: 403 Forbidden" in capsys.readouterr().err
