"""The shape of what stands on a white ground."""

from torch import Tensor

from lightning_transfer.data.modalities.base import Modality


class Silhouette(Modality):
    """Black where a picture differs from its white ground, white elsewhere; parts as white as the ground are holes.

    Args:
        tolerance: in (0, 1): by how much the darkest channel may stay below 1 and still be ground, which compression makes uneven.

    Raises:
        ValueError: for a tolerance outside (0, 1).
    """

    def __init__(self, tolerance: float = 0.1) -> None:
        super().__init__()
        if not 0 < tolerance < 1:
            raise ValueError(f"tolerance={tolerance} must lie in (0, 1); 0.1 forgives the ripples of JPEG")
        self.tolerance = tolerance

    def sense(self, picture: Tensor) -> Tensor:
        ground = picture.amin(dim=0) >= 1 - self.tolerance
        return ground.float().expand(3, -1, -1)
