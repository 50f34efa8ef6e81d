"""Modalities computed from a picture: (3, H, W), bytes or floats in [0, 1], to floats in [0, 1] of the same shape.

They draw nothing at random, and each pixel of the result belongs to that pixel of the picture: so both have one geometry, and come
after whatever the picture's transform has drawn.
"""

from lightning_transfer.data.modalities.base import InModality, Modality
from lightning_transfer.data.modalities.edges import Edges
from lightning_transfer.data.modalities.grey import Grey
from lightning_transfer.data.modalities.silhouette import Silhouette

__all__ = ["Edges", "Grey", "InModality", "Modality", "Silhouette"]
