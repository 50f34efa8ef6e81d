import json
from functools import partial

import pytest
import timm
import torch
from torch import nn
from torchvision.transforms.v2.functional import to_dtype

from lightning_transfer import FinetuneModule, TimmBackbone, TransferModule
from lightning_transfer.backbones import ModuleBackbone
from lightning_transfer.data import EvalTransform, FakeData
from lightning_transfer.exports import Deployed, TimmExport, compare
from lightning_transfer.heads import CosineHead, LinearHead


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_timm_loads_the_same_logits(deployed, images, tmp_path, name):
    model = deployed(name)
    TimmExport().write(model, tmp_path / "model")
    network = timm.create_model(f"local-dir:{tmp_path}/model", pretrained=True).eval()
    backbone = model.model.backbone
    pixels = to_dtype(model.prepare(images[0][None]), torch.float32, scale=True)
    torch.testing.assert_close(network((pixels - backbone.mean) / backbone.std), model.model(pixels).logits)
    assert timm.data.resolve_model_data_config(network)["input_size"] == (3, 64, 64)
    assert network.pretrained_cfg["label_names"] == ["leaf", "stone", "water"]


def test_timm_loads_the_same_values(deployed, images, tmp_path):
    for head in (LinearHead, partial(LinearHead, bias=False)):
        model = deployed(task="regression", head=head)
        TimmExport().write(model, tmp_path / str(head))
        network = timm.create_model(f"local-dir:{tmp_path / str(head)}", pretrained=True).eval()
        backbone = model.model.backbone
        pixels = to_dtype(model.prepare(images[0][None]), torch.float32, scale=True)
        torch.testing.assert_close(network((pixels - backbone.mean) / backbone.std), model.model(pixels).logits)


@pytest.mark.parametrize(("crop", "task"), [(0.875, "classification"), (1.0, "multi_label"), (0.95, "regression")])
def test_timm_prepares_images_alike(deployed, images, tmp_path, crop, task):
    model = deployed(crop=crop, task=task, size=70)
    form = TimmExport()
    form.write(model, tmp_path / "model")
    found = compare(model, form.load(tmp_path / "model"), images)
    assert found.agreeing == (None if task == "regression" else 6)
    assert found.difference < 0.02 * found.spread
    config = json.loads((tmp_path / "model/config.json").read_text())
    assert config["architecture"] == "test_resnet"
    assert config["problem_type"].partition("_")[0] == {"classification": "single", "multi_label": "multi"}.get(
        task, task
    )


def test_a_head_without_bias_has_the_bias_zero(deployed, images, tmp_path):
    model = deployed(head=partial(LinearHead, bias=False))
    TimmExport().write(model, tmp_path / "model")
    network = timm.create_model(f"local-dir:{tmp_path}/model", pretrained=True)
    assert not network.get_classifier().bias.any()


def test_refuses_other_heads_and_backbones(deployed, tmp_path):
    with pytest.raises(ValueError, match="needs head=LinearHead.*not CosineHead.*onnx"):
        TimmExport().write(deployed(head=CosineHead), tmp_path / "model")
    own = FinetuneModule(ModuleBackbone(nn.Sequential(nn.Flatten(), nn.Linear(12, 4)), 4), 3)
    with pytest.raises(ValueError, match="not ModuleBackbone"):
        TimmExport().write(Deployed(own, EvalTransform(2)), tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_refuses_a_backbone_that_edits_have_changed(deployed, tmp_path):
    model = deployed()
    model.model.backbone.model.conv1[0] = nn.Sequential(model.model.backbone.model.conv1[0])
    TimmExport().write(model, tmp_path / "model")
    with pytest.raises(ValueError, match="no longer as timm builds it"):
        TimmExport().load(tmp_path / "model")


@pytest.mark.parametrize("size", range(20, 260, 13))
@pytest.mark.parametrize("crop", [0.875, 0.9, 0.95, 1.0])
def test_timm_resizes_to_the_same_length(size, crop):
    from lightning_transfer.exports.timm import _crop

    transform = EvalTransform(size, crop)
    steps = timm.data.create_transform((3, size, size), crop_pct=_crop(transform), is_training=False).transforms
    assert steps[0].size == transform.short_side


@pytest.mark.parametrize("name", ["test_resnet", "test_vit"])
def test_an_export_is_a_backbone_by_its_folder(deployed, tmp_path, name):
    model = deployed(name)
    TimmExport().write(model, tmp_path / "model")
    backbone = TimmBackbone(f"local-dir:{tmp_path}/model").eval()
    image = torch.rand(2, 3, 64, 64)
    torch.testing.assert_close(backbone(image).embedding, model.model.backbone(image).embedding)
    assert torch.equal(backbone.mean, model.model.backbone.mean)


def test_a_backbone_by_its_folder_has_the_normalisation_stated_there(deployed, tmp_path):
    TimmExport().write(deployed(), tmp_path / "model")
    config = json.loads((tmp_path / "model/config.json").read_text())
    config["pretrained_cfg"] |= {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    (tmp_path / "model/config.json").write_text(json.dumps(config))
    backbone = TimmBackbone(f"local-dir:{tmp_path}/model")
    torch.testing.assert_close(backbone.mean.flatten(), torch.tensor([0.1, 0.2, 0.3]))
    torch.testing.assert_close(backbone.std.flatten(), torch.tensor([0.4, 0.5, 0.6]))


@pytest.mark.parametrize("as_part", [False, True])
def test_a_checkpoint_needs_the_folder_no_more(deployed, trainer, tmp_path, as_part):
    TimmExport().write(deployed("test_vit"), tmp_path / "model")
    name = f"local-dir:{tmp_path}/model"
    module = FinetuneModule(TimmBackbone(name) if as_part else name, 4, image_size=32)
    run = trainer(max_steps=1)
    run.fit(module, FakeData(image_size=32))
    run.save_checkpoint(tmp_path / "x.ckpt")
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    again = TransferModule.load_from_checkpoint(tmp_path / "x.ckpt").eval()
    image = torch.rand(2, 3, 32, 32)
    assert torch.equal(again(image).logits, module.eval()(image).logits)
    assert torch.equal(again.model.backbone.std, module.model.backbone.std)


def test_says_what_is_wrong_with_a_folder_or_the_hub(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"backbone='local-dir:nope' cannot be had: Config file not found"):
        TimmBackbone("local-dir:nope")
    with pytest.raises(FileNotFoundError, match=r"backbone='hf-hub:user/name' cannot be had.*local-dir:FOLDER"):
        TimmBackbone("hf-hub:user/name")
    with pytest.raises(FileNotFoundError, match="valid sources"):
        TimmBackbone("drive:x")
    (tmp_path / "config.json").write_text('{"architecture": "test_resnet", "pretrained_cfg": {}}')
    with pytest.raises(FileNotFoundError, match="no pretrained weights for 'local-dir"):
        TimmBackbone(f"local-dir:{tmp_path}")
