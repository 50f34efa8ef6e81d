"""A trained module as others run it: images of any size in, probabilities out."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate
from torchvision.transforms.v2.functional import to_dtype

from lightning_transfer import __version__
from lightning_transfer.data import EvalTransform
from lightning_transfer.models import Regressor
from lightning_transfer.modules import TransferModule
from lightning_transfer.tasks import answer

_MEANING = {"classification": "softmax", "multi_label": "sigmoid", "regression": "in the targets' own units"}


class MiddleOfImage(nn.Module):
    """`EvalTransform` in integer arithmetic without branches, so that one graph serves images of every size.

    Args:
        size: side of the result in pixels.
        short_side: length to which the shorter side is resized, in pixels, at least `size`.

    Shape:
        uint8 (B, 3, H, W) → uint8 (B, 3, size, size)
    """

    def __init__(self, size: int, short_side: int) -> None:
        super().__init__()
        self.size = size
        self.short_side = short_side

    def forward(self, image: Tensor) -> Tensor:
        height, width = image.shape[-2:]
        shorter: Any = torch.sym_min(height, width)  # a number, or the name of one while torch traces
        resized = (self.short_side * height // shorter, self.short_side * width // shorter)
        image = interpolate(image, resized, mode="bilinear", antialias=True)
        for axis, length in zip((-2, -1), resized, strict=True):
            image = image.index_select(axis, torch.arange(self.size, device=image.device) + self._margin(length))
        return image

    def _margin(self, length: int) -> int:
        """Half of what is cut off, with halves rounded to the even number as torchvision's CenterCrop does."""
        cut = length - self.size
        return (cut + cut // 2 % 2) // 2


class Deployed(nn.Module):
    """A trained module with the preparation of its images in front, and probabilities or values behind.

    Args:
        module: what `fit` trained.
        transform: what prepared the images for validation and test.

    Shape:
        uint8 (B, 3, H, W), RGB, of any height and width → (B, K) in [0, 1]: softmax, or sigmoid where an image can have several
        labels; for regression the targets in their own units

    Raises:
        ValueError: for another transform than `EvalTransform`.
    """

    def __init__(self, module: TransferModule, transform: nn.Module) -> None:
        super().__init__()
        if not isinstance(transform, EvalTransform):
            raise ValueError(
                f"data.eval_transform={type(transform).__name__} cannot be written into an export, which prepares images "
                "itself; EvalTransform can"
            )
        self.transform = transform
        self.prepare = MiddleOfImage(transform.size, transform.short_side)
        self.model = module.model
        self.task = module.task
        self.output = "value" if self.task == "regression" else "probability"
        self.class_names = module.class_names or [str(k) for k in range(module.num_classes)]
        # in a list, since it is no part of what is exported
        self._module = [module.eval()]
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.model(to_dtype(self.prepare(image), torch.float32, scale=True)).logits.float()
        return answer(logits, self.task)

    @torch.no_grad()
    def reference(self, image: Tensor) -> Tensor:
        """Answer (K,) to one image, uint8 (3, H, W), as `predict` finds it: what every export must equal."""
        prepared = to_dtype(self.transform(image), torch.float32, scale=True)
        logits = self._module[0](prepared.unsqueeze(0)).logits.float()  # one look: an export has no `test_views`
        return answer(logits, self.task)[0]

    def comparable(self, answers: Tensor) -> Tensor:
        """Answers (B, K) in one unit: values as standardised in training."""
        return self.model.standardise(answers) if isinstance(self.model, Regressor) else answers

    def metadata(self) -> dict[str, Any]:
        """What a user of the file must know, as plain data.

        Raises:
            ValueError: for an encoder that was pretrained without labels, which knows no classes.
        """
        if isinstance(getattr(self.model, "head", None), nn.Identity):
            raise ValueError(
                "the checkpoint was pretrained without labels and knows no classes; format=timm writes its backbone"
            )
        return {
            ("target_names" if self.task == "regression" else "class_names"): self.class_names,
            "task": self.task,
            "image": "uint8 (batch, 3, height, width), RGB, any height and width",
            self.output: f"float32 (batch, {len(self.class_names)}), {_MEANING[self.task]}",
            "preprocessing": {
                "resize_shorter_side": self.prepare.short_side,
                "interpolation": "bilinear, antialiased",
                "center_crop": self.prepare.size,
                "within_the_graph": True,
            },
            "made_by": f"lightning_transfer {__version__}",
        }
