"""An image-text model by the checkpoint that it was trained to, or as it is; frozen."""

from pathlib import Path

from torch import nn

from lightning_transfer.models.image_text import ImageTextModel
from lightning_transfer.models.recorded import open_recorded


class ImageTextCheckpoint(ImageTextModel):
    """The image-text model of a checkpoint that `fit` wrote.

    Args:
        path: the file.
        sha256: of the file, in hexadecimal digits; recorded, so that whoever goes on with another file is told.
        arguments: of the module in the file, as JSON; recorded, so that a checkpoint that holds the weights needs the file no more.

    Raises:
        FileNotFoundError, ValueError: for a file that is missing, torn or hostile, that is another than recorded, or that holds no
            image-text model.
    """

    def __init__(self, path: str | Path, sha256: str | None = None, arguments: str | None = None) -> None:
        module, recorded = open_recorded("image_text", path, sha256, arguments)
        if not isinstance(module.model, ImageTextModel):
            raise ValueError(
                f"image_text: {str(path)!r} holds a {type(module).__name__}, which reads no texts; give a checkpoint of an ImageTextModule"
            )
        nn.Module.__init__(self)
        vars(self).update(vars(module.model))  # it is that model, under the names of its own weights
        self.init_args = recorded


def as_image_text(image_text: nn.Module | str) -> ImageTextModel:
    """Freeze an image-text model, given as it is or by the path of its checkpoint (`.ckpt`).

    Raises:
        FileNotFoundError, ValueError: for what is none.
    """
    if isinstance(image_text, str):
        if not image_text.endswith(".ckpt"):
            raise ValueError(
                f"image_text={image_text!r} must be a checkpoint of an ImageTextModule, ending in .ckpt, or a class_path"
            )
        image_text = ImageTextCheckpoint(image_text)
    if not isinstance(image_text, ImageTextModel):
        raise ValueError(
            f"image_text={type(image_text).__name__} is no image-text model: give an ImageTextModel, or the path of a checkpoint"
        )
    image_text.requires_grad_(False).eval()
    return image_text
