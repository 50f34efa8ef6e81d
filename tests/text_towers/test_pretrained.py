import importlib.util

import pytest
import torch
from torch.nn.functional import normalize

from lightning_transfer.checkpoint import weights_from_checkpoint
from lightning_transfer.parts import describe
from lightning_transfer.text_encoders import MiniLM
from lightning_transfer.text_towers import HuggingFaceTower, SentenceTower

transformers = pytest.importorskip("transformers")
TEXTS = ["A frog sits there.", "A dingo, unaffected by all that; 猿!", "tea"]


@pytest.fixture
def folder(tmp_path):
    """A small BERT with a tokenizer of words, as `save_pretrained` writes both."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "A", "frog", "dingo", "tea", "sits", "a"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    fast = transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )
    fast.save_pretrained(tmp_path / "encoder")
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(vocab_size=len(words), max_position_embeddings=24, **sizes)
    transformers.BertModel(config).save_pretrained(tmp_path / "encoder")
    return str(tmp_path / "encoder")


@pytest.mark.parametrize("pooling", ["mean", "first", "last"])
def test_equals_the_library_text_by_text(folder, pooling):
    tower = HuggingFaceTower(folder, pooling=pooling).eval()
    model = transformers.AutoModel.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        found = tower(tower.tokenize(TEXTS))
        for text, vector in zip(TEXTS, found, strict=True):
            outputs = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
            expected = {"mean": outputs.mean(0), "first": outputs[0], "last": outputs[-1]}[pooling]
            torch.testing.assert_close(vector, expected, rtol=1e-5, atol=1e-5)
    assert (tower.num_features, tower.context_length, tower.prefix) == (16, 24, 1)


def test_entries_in_the_place_of_words_have_a_gradient(folder):
    tower = HuggingFaceTower(folder).eval()
    tokens = tower.tokenize(TEXTS)
    entries = tower.embed(tokens.ids).detach().requires_grad_()
    tower.encode(entries, tokens).square().sum().backward()
    assert torch.equal(entries.grad.abs().sum(dim=2) > 0, tokens.mask)
    assert not tower.model.get_input_embeddings()._forward_hooks


def test_needs_neither_folder_nor_hub_behind_a_checkpoint(folder, tmp_path):
    tower = HuggingFaceTower(folder, pooling="last").eval()
    state, arguments = tower.state_dict(), describe(tower)["init_args"]
    torch.save(state, tmp_path / "weights")
    (tmp_path / "encoder").rename(tmp_path / "gone")
    with weights_from_checkpoint():
        again = HuggingFaceTower(**arguments).eval()
    again.load_state_dict(torch.load(tmp_path / "weights", weights_only=True))
    assert torch.equal(again(again.tokenize(TEXTS)), tower(tower.tokenize(TEXTS)))
    assert describe(again)["init_args"] == arguments


def test_random_weights_where_asked(folder):
    first, second = (HuggingFaceTower(folder, pretrained=value) for value in (True, False))
    assert first.num_features == second.num_features
    assert not torch.equal(*(t.model.get_input_embeddings().weight for t in (first, second)))


def test_refuses(folder, tmp_path):
    with pytest.raises(FileNotFoundError, match="text_tower.name='nobody/nothing' cannot be had"):
        HuggingFaceTower("nobody/nothing")
    with pytest.raises(ValueError, match="pooling='max' must be one of mean, first, last"):
        HuggingFaceTower(folder, pooling="max")
    with pytest.raises(
        ValueError, match="has 25 tokens with its marks, but HuggingFaceTower reads at most context_length=24"
    ):
        HuggingFaceTower(folder).tokenize(["tea " * 23])
    transformers.T5Config(d_model=8).save_pretrained(tmp_path / "t5")
    with pytest.raises(ValueError, match="is a t5, no encoder of texts alone"):
        HuggingFaceTower(str(tmp_path / "t5"))


needs_minilm = pytest.mark.skipif(
    importlib.util.find_spec("all_minilm_l6_v2") is None, reason="MiniLM's package is absent"
)


@needs_minilm
def test_sentence_tower_is_minilm_without_its_scaling():
    tower = SentenceTower().eval()
    with torch.no_grad():
        found = tower(tower.tokenize(TEXTS))
    torch.testing.assert_close(normalize(found), MiniLM()(TEXTS), rtol=1e-4, atol=1e-5)
    assert (tower.num_features, tower.context_length, tower.prefix) == (384, 256, 1)
    with weights_from_checkpoint():
        again = SentenceTower().eval()
    again.load_state_dict(tower.state_dict())
    assert torch.equal(again.tokenize(TEXTS).ids, tower.tokenize(TEXTS).ids)
    with pytest.raises(ValueError, match="has 302 tokens"):
        tower.tokenize(["a " * 300])
