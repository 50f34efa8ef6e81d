"""Text towers: texts to vectors, through tokens; the half of an image-text model that reads.

A tower refuses empty texts and those longer than it reads, instead of cutting them off.
"""

from lightning_transfer.text_towers.base import TextTokens, TextTower
from lightning_transfer.text_towers.huggingface import HuggingFaceTower
from lightning_transfer.text_towers.sentence import SentenceTower
from lightning_transfer.text_towers.transformer import TransformerTower

__all__ = ["HuggingFaceTower", "SentenceTower", "TextTokens", "TextTower", "TransformerTower"]
