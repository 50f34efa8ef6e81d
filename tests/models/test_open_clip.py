import pytest
import torch
from torch.nn.functional import normalize

from lightning_transfer.checkpoint import weights_from_checkpoint
from lightning_transfer.models import OpenClipModel
from lightning_transfer.parts import describe

open_clip = pytest.importorskip("open_clip")
TEXTS = ["A frog!", "two words more than the other", "tea"]
SMALL = {
    "embed_dim": 12,
    "vision_cfg": {"image_size": 32, "layers": 2, "width": 32, "head_width": 16, "patch_size": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 2},
}
# another class of open_clip's: a bias, no causal mask, pooled at the last token, as SigLIP's texts are
SIGMOID = SMALL | {
    "custom_text": True,
    "init_logit_bias": -10,
    "text_cfg": SMALL["text_cfg"] | {"no_causal_mask": True, "pool_type": "last", "proj_bias": True},
}


def theirs(config, tmp_path, save=False):
    import json

    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}))
    model = open_clip.create_model(f"local-dir:{folder}", load_weights=False).eval()
    if save:
        torch.save(model.state_dict(), folder / "open_clip_pytorch_model.bin")
    return model, str(folder)


@pytest.mark.parametrize("config", [SMALL, SIGMOID], ids=["clip", "sigmoid"])
def test_equals_open_clip_of_the_same_weights(config, tmp_path):
    model, folder = theirs(config, tmp_path, save=True)
    ours = OpenClipModel(config, f"{folder}/open_clip_pytorch_model.bin").eval()
    image = torch.rand(3, 3, 32, 32)
    mean, std = (torch.tensor(model.visual.preprocess_cfg[key]).view(-1, 1, 1) for key in ("mean", "std"))
    tokens = open_clip.SimpleTokenizer(context_length=16)(TEXTS)
    with torch.no_grad():
        expected = model.encode_image((image - mean) / std, True), model.encode_text(tokens, True)
        found = ours.encode_image(image), ours.encode_text(TEXTS)
        for one, other in zip(found, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(
            ours.logits(*found), model.get_logits((image - mean) / std, tokens)[0], rtol=1e-4, atol=1e-4
        )
    assert ours.num_features == 12
    assert (ours.bias is None) == (config is SMALL)


def test_entries_in_the_place_of_words():
    ours = OpenClipModel(SMALL).eval()
    tokens = ours.tokenize(TEXTS)
    entries = ours.text_tower.embed(tokens.ids).detach().requires_grad_()
    vectors = ours.encode_tokens(tokens, entries)
    torch.testing.assert_close(vectors, ours.encode_text(TEXTS))
    vectors[:, 0].sum().backward()
    assert torch.equal(
        entries.grad.abs().sum(dim=2) > 0, tokens.mask
    )  # a causal mask: what follows the end has no part


def test_a_folder_is_read_once_and_described_by_its_configuration(tmp_path):
    model, folder = theirs(SMALL, tmp_path, save=True)
    ours = OpenClipModel(f"local-dir:{folder}").eval()
    described = describe(ours)["init_args"]
    assert described == {"name": SMALL, "pretrained": False, "image_size": None}
    with weights_from_checkpoint():
        again = OpenClipModel(**described).eval()
    again.load_state_dict(ours.state_dict())
    assert torch.equal(again.encode_text(TEXTS), ours.encode_text(TEXTS))
    assert torch.equal(
        ours.encode_text(TEXTS), normalize(model.encode_text(open_clip.SimpleTokenizer(context_length=16)(TEXTS)))
    )


def test_weights_by_tag_are_not_asked_for_behind_a_checkpoint(monkeypatch):
    config = open_clip.get_model_config("ViT-B-32") | SMALL
    monkeypatch.setattr("open_clip.factory.get_model_config", lambda _: {**config})
    monkeypatch.setattr("open_clip.get_model_config", lambda _: {**config})
    with weights_from_checkpoint():
        model = OpenClipModel("ViT-B-32", "openai")
    # OpenAI's weights want another activation than the name says
    assert "QuickGELU" in str(model.backbone)
    with pytest.raises(FileNotFoundError, match="the weights pretrained='laion2b_e16' of 'ViT-B-32' cannot be had"):
        OpenClipModel("ViT-B-32", "laion2b_e16")


def test_other_image_sizes_are_asked_for():
    assert OpenClipModel(SMALL, image_size=64).encode_image(torch.rand(2, 3, 64, 64)).shape == (2, 12)
    with pytest.raises(ValueError, match="takes images of 32 pixels, but image_size=64; set data.image_size=32, or"):
        OpenClipModel(SMALL).backbone.set_image_size(64)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("ViT-B-23",), "open_clip knows no model 'ViT-B-23'; the nearest are .*ViT-B-32"),
        (
            ("ViT-B-32", "laion2b_s34b"),
            "pretrained='laion2b_s34b' is no weights of 'ViT-B-32' and no file; the nearest are .*laion2b_s34b_b79k",
        ),
        (({"embed_dim": 3},), "needs vision_cfg, text_cfg; it has embed_dim"),
        ((SMALL | {"multimodal_cfg": {}},), "also writes captions"),
    ],
)
def test_refuses(arguments, said):
    with pytest.raises(ValueError, match=said):
        OpenClipModel(*arguments)


def test_refuses_files_and_texts(tmp_path):
    with pytest.raises(FileNotFoundError, match="pretrained='none.bin' is no file"):
        OpenClipModel(SMALL, "none.bin")
    torch.save({"logit_scale": torch.tensor(1.0)}, tmp_path / "other.bin")
    with pytest.raises(ValueError, match="do not fit the model"):
        OpenClipModel(SMALL, str(tmp_path / "other.bin"))
    with pytest.raises(FileNotFoundError, match="local-dir:FOLDER a folder with"):
        OpenClipModel("local-dir:none")
    model = OpenClipModel(SMALL)
    with pytest.raises(ValueError, match="has 22 tokens with its marks"):
        model.encode_text(["tea " * 20])
    with pytest.raises(ValueError, match="a caption is empty"):
        model.encode_text([""])
