"""Images without classes, for models that are told by words what to look for."""

from lightning_transfer.data.base import ImageData
from lightning_transfer.data.sources import ImageSource


class UnlabelledData(ImageData):
    """Nothing but `predict_path`: a folder of images, or one file, for `predict` alone."""

    @property
    def class_names(self) -> list[str]:
        return []

    def sources(self) -> dict[str, ImageSource]:
        raise ValueError(
            "data=UnlabelledData has images for predict alone; say which by data.predict_path, or give data with classes"
        )
