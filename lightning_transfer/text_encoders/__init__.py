"""Text encoders: texts to embeddings, the more similar the closer the texts are in meaning."""

from lightning_transfer.text_encoders.base import TextEncoder
from lightning_transfer.text_encoders.minilm import MiniLM
from lightning_transfer.text_encoders.ngrams import CharacterNGrams

__all__ = ["CharacterNGrams", "MiniLM", "TextEncoder"]
