"""Text towers: texts to vectors, through tokens; the half of an image-text model that reads."""

from lightning_transfer.text_towers.base import TextTokens, TextTower

__all__ = ["TextTokens", "TextTower"]
