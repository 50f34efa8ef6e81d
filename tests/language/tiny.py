"""Language models of a few thousand random weights, and a tokenizer that learned a few sentences."""

from functools import lru_cache

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from lightning_transfer.language import LanguageModel

TEXTS = [
    "A great film with a great cast. It was great.",
    "A terrible film, bad and dull. It was terrible.",
    "Review: the good, the bad and the ugly.\nSentiment: positive\n\nReview: so so\nSentiment: negative",
    "Yes, no, maybe. Question: what is it? Answer: it is a dog. The answer is 3.",
]
SPECIAL = {"end": 0, "mask": 1, "begin": 0}


@lru_cache
def _trained(masked: bool) -> str:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=420,
        special_tokens=["<end>", AddedToken("<mask>", lstrip=True, special=True), "<first>", "<last>"],
        initial_alphabet=alphabet,
        show_progress=False,
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    if masked:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<first> $A <last>", special_tokens=[("<first>", 2), ("<last>", 3)]
        )
    return tokenizer.to_str()


def tokenizer(masked: bool = False) -> Tokenizer:
    return Tokenizer.from_str(_trained(masked))


def _calm(model: torch.nn.Module) -> torch.nn.Module:
    """Weights large enough that scores differ by more than rounding."""
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter.mul_(4)
    return model.eval()


def llama(seed: int = 0, context: int = 256) -> LanguageModel:
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=420,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=context,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
    )
    return LanguageModel.of(_calm(LlamaForCausalLM(config)), tokenizer(), SPECIAL)


def gpt2(seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    config = GPT2Config(vocab_size=420, n_embd=32, n_layer=2, n_head=4, n_positions=256, bos_token_id=0, eos_token_id=0)
    return LanguageModel.of(_calm(GPT2LMHeadModel(config)), tokenizer(), SPECIAL)


def bert(seed: int = 0) -> LanguageModel:
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=420,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
    )
    return LanguageModel.of(_calm(BertForMaskedLM(config)), tokenizer(masked=True), SPECIAL)
