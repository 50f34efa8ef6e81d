"""From a picture on disk to the loggers."""

from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image
from torchvision.transforms.v2.functional import pil_to_tensor


def log_picture(trainer: Trainer, subject: str, path: Path) -> None:
    """Hand a picture to the loggers that take any, as `SUBJECT/NAME`."""
    key = f"{subject}/{path.stem}"
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            logger.log_image(key, [str(path)])
        elif isinstance(logger, TensorBoardLogger):
            with Image.open(path) as picture:
                pixels = pil_to_tensor(picture.convert("RGB"))
            logger.experiment.add_image(key, pixels, trainer.global_step)
