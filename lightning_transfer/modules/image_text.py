"""Pretraining by captions: two towers learn to place an image and what is said of it side by side."""

import math
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torchmetrics import MetricCollection

from lightning_transfer.backbones import as_backbone
from lightning_transfer.captions import caption_groups, check_captions
from lightning_transfer.contracts import ImageBatch, StepOutput
from lightning_transfer.data.base import ImageData
from lightning_transfer.data.datasets import EMBEDDING
from lightning_transfer.features.once import embed_once
from lightning_transfer.features.texts import TextOutputs
from lightning_transfer.losses.pair import ImageTextLoss, SymmetricCrossEntropy
from lightning_transfer.metrics.retrieval import Retrieval
from lightning_transfer.models import ImageTextModel
from lightning_transfer.models.image_text import GREATEST_SCALE
from lightning_transfer.modules.base import TransferModule, check_range
from lightning_transfer.optim import Optim
from lightning_transfer.parts import describe
from lightning_transfer.text_towers import TextTower


class ImageTextModule(TransferModule):
    """Train an image tower and a text tower on captioned images (CLIP), or one of them towards the other, which is locked (LiT).

    A locked tower stays frozen and in evaluation mode. What it makes of an image or a caption is computed once: of images before training,
    with a random transform of as many versions as `data.augmentations` says, so that later epochs load no image. Validation and test log
    how often images and captions find one another (`metrics.Retrieval`), chance beside it, and the loss over their batches, which no
    similarity would leave at ln B.

    Args:
        backbone: the image tower, a timm name or as for `FinetuneModule`.
        text_tower: from `text_towers`.
        dim: width of the common space; none leaves both towers' vectors as they are.
        model: both towers in one, `OpenClipModel` for example, instead of the arguments before.
        loss: from `losses.pair`; the symmetric cross-entropy if not given.
        optim: optimiser, schedule and groups; if not given AdamW at 0.001 with warm-up and cosine.
        scale: of cosines at the start, at most 100 then and later; the loss's own if not given: 14.3, or 10 for `PairwiseSigmoid`.
        bias: of the scores at the start; the loss's own if not given: none, or -10 for `PairwiseSigmoid`.
        lock_image: whether the image tower is locked.
        lock_text: whether the text tower is locked.
        max_gigabytes: that a locked image tower's features may take in each process's memory, in 10⁹ bytes; 0 computes them in every epoch.
        class_names: K names of the data's classes, for whoever classifies with this model.
        image_size: side of the images in pixels.
        channels_last: whether images and weights are laid out with channels last in memory.

    Raises:
        ValueError: for arguments that do not fit one another; in training for images without captions, a batch of one pair, or a locked
            tower that something sets to train.

    Reference:
        Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021; Zhai et al., "LiT: Zero-Shot
        Transfer with Locked-image Text Tuning", CVPR 2022.

    Example:
        >>> from lightning_transfer import TimmBackbone
        >>> from lightning_transfer.text_towers import TransformerTower
        >>> module = ImageTextModule(TimmBackbone("test_resnet", pretrained=False), TransformerTower(width=32), dim=16)
        >>> module.model.logits(module(torch.rand(2, 3, 64, 64)), module.model.encode_text(["a cat", "a dog", "tea"])).shape
        torch.Size([2, 3])
    """

    model: ImageTextModel

    def __init__(
        self,
        backbone: nn.Module | str | None = None,
        text_tower: TextTower | None = None,
        dim: int | None = 256,
        model: ImageTextModel | None = None,
        loss: ImageTextLoss | None = None,
        optim: Optim | None = None,
        scale: float | None = None,
        bias: float | None = None,
        lock_image: bool = False,
        lock_text: bool = False,
        max_gigabytes: float = 4.0,
        class_names: list[str] | None = None,
        image_size: int | None = None,
        channels_last: bool = True,
    ) -> None:
        super().__init__(
            len(class_names) if class_names else 1,
            class_names,
            image_size,
            "classification",
            optim or Optim(partial(AdamW, lr=1e-3, weight_decay=0.1)),
            MetricCollection([Retrieval()]),
            channels_last,
            compile=False,
        )
        self.loss = loss or SymmetricCrossEntropy()
        self.lock_image, self.lock_text, self.max_gigabytes = lock_image, lock_text, max_gigabytes
        self.model = self._built(backbone, text_tower, dim, model, scale, bias)
        if max_gigabytes < 0:
            raise ValueError(f"max_gigabytes={max_gigabytes} must be at least 0; 0 keeps no features")
        if lock_image and lock_text and isinstance(self.model.image_projection, nn.Identity):
            raise ValueError(
                "lock_image and lock_text with dim=null leave nothing to be learned; unlock one, or set dim"
            )
        for locked, tower in self._towers():
            if locked:
                tower.requires_grad_(False)
        self._texts = TextOutputs()
        self.train(self.training)

    def _built(
        self,
        backbone: nn.Module | str | None,
        text_tower: TextTower | None,
        dim: int | None,
        model: ImageTextModel | None,
        scale: float | None,
        bias: float | None,
    ) -> ImageTextModel:
        if model is not None:
            if backbone is not None or text_tower is not None or scale is not None or bias is not None:
                raise ValueError(
                    "model brings both towers and their scale; leave backbone, text_tower, scale and bias out"
                )
            if self.image_size is not None:
                model.backbone.set_image_size(self.image_size)
        elif backbone is None or text_tower is None:
            raise ValueError("give backbone and text_tower, or a model that brings both")
        else:
            scale = self.loss.initial_scale if scale is None else scale
            if not 0 < scale <= GREATEST_SCALE:
                raise ValueError(
                    f"scale={scale} must lie in (0, {GREATEST_SCALE:g}]; 14.3 is CLIP's, a temperature of 0.07"
                )
            bias = self.loss.initial_bias if bias is None else bias
            model = ImageTextModel(as_backbone(backbone, self.image_size), text_tower, dim, scale, bias)
        if self.loss.initial_bias is not None and model.bias is None:
            raise ValueError(
                f"loss={type(self.loss).__name__} needs a bias, and the model was made without one; take SymmetricCrossEntropy"
            )
        return model

    def _towers(self) -> list[tuple[bool, nn.Module]]:
        return [(self.lock_image, self.model.backbone), (self.lock_text, self.model.text_tower)]

    def forward(self, image: Tensor) -> Tensor:  # type: ignore[override]  # there are no classes to predict
        """Images (B, 3, H, W) in [0, 1] to vectors (B, D) of unit length."""
        return self.model.encode_image(image.contiguous(memory_format=self.memory_format))

    def test_logits(self, image: Tensor) -> Tensor:
        raise ValueError(
            "an ImageTextModule knows no classes of its own; ZeroShotModule classifies by their names with its checkpoint"
        )

    def setup(self, stage: str) -> None:
        super().setup(stage)
        self._texts = TextOutputs()  # of these weights
        data = self._data_to_embed()
        if data is not None and stage == "fit":
            sets = {name: data.sets[name] for name in ("train", "val") if name in data.sets}
            data.embedded_first = frozenset(name for name, images in sets.items() if images.versions is not None)

    def _data_to_embed(self) -> ImageData | None:
        data = getattr(self.trainer, "datamodule", None)
        keeps = self.lock_image and self.max_gigabytes > 0
        return data if keeps and isinstance(data, ImageData) else None

    def on_fit_start(self) -> None:
        super().on_fit_start()
        data = self._data_to_embed()
        if data is not None:
            self.model.backbone.eval()
            for name in [name for name in ("train", "val") if name in data.sets]:  # in one order in all processes
                example = data.sets[name].example()
                check_captions(example)
                self._check_images(example.image.to(self.device))
                embed_once(self.model.backbone, self.trainer, name, self.max_gigabytes)

    def encode(self, batch: ImageBatch) -> tuple[Tensor, Tensor, Tensor]:
        """Vectors (B, D) of the images and (B, D) of their captions, and (B,) which captions are the same."""
        if EMBEDDING in batch.modalities:
            image = self.model.project_image(batch.modalities[EMBEDDING])
        else:
            image = self(batch.image)
        if self.lock_text:
            text = self.model.project_text(self._texts(self.model, batch.text))
        else:
            text = self.model.encode_text(batch.text)
        return image, text, caption_groups(batch.text).to(image.device)

    def step(self, batch: ImageBatch) -> StepOutput:
        return self._compare(*self.encode(batch))

    def _compare(self, image: Tensor, text: Tensor, group: Tensor) -> StepOutput:
        scale = self.model.scale()
        return StepOutput(self.loss(image, text, scale, self.model.bias, group), {"scale": scale.detach()})

    def _evaluate(self, batch: ImageBatch, batch_idx: int, metrics: MetricCollection) -> None:
        if batch_idx == 0:
            self._check(batch)
        found = self.encode(batch)
        size: Any = float(len(batch.target))
        loss = self._compare(*found).loss
        self.log(
            f"{metrics.prefix}loss", loss, prog_bar=True, sync_dist=True, add_dataloader_idx=False, batch_size=size
        )
        metrics.update(*found)

    def on_validation_epoch_end(self) -> None:
        self._tell(self.val_metrics)

    def on_test_epoch_end(self) -> None:
        for metrics in self.test_metrics:
            self._tell(metrics)  # type: ignore[arg-type]
        super().on_test_epoch_end()

    def _tell(self, metrics: MetricCollection) -> None:
        # not by their names, as Lightning would reduce them: what retrieval finds is several figures at once
        self.log_dict(metrics.compute(), sync_dist=True)
        metrics.reset()

    def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
        super().optimizer_step(epoch, batch_idx, optimizer, optimizer_closure)
        with (
            torch.no_grad()
        ):  # a hair below the limit: where the clamp bites the gradient is zero, and the scale would stay there
            self.model.log_scale.clamp_(max=math.log(GREATEST_SCALE) - 1e-6)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        super().on_save_checkpoint(checkpoint)
        arguments = checkpoint["hyper_parameters"]  # towers know by now what the hub or a folder said
        if arguments.get("model") is not None:
            arguments["model"] = describe(self.model, "model")
        if arguments.get("text_tower") is not None:
            arguments["text_tower"] = describe(self.model.text_tower, "text_tower")

    def _look(self, image: Tensor) -> Any:
        return self.model.encode_image(image)

    def _check(self, batch: ImageBatch) -> None:
        check_captions(batch)
        if self.training:
            self._check_training(batch)
        if EMBEDDING not in batch.modalities:
            self._check_images(batch.image)

    def _check_images(self, image: Tensor) -> None:
        check_range(image)
        self._try(image)

    def _check_training(self, batch: ImageBatch) -> None:
        if len(batch.target) * self.trainer.world_size < 2:
            raise ValueError(
                "a batch of one pair has no other caption to tell its own from; raise data.batch_size, or take more images"
            )
        for (locked, tower), name in zip(self._towers(), ("lock_image", "lock_text"), strict=True):
            trained = [n for n, parameter in tower.named_parameters() if parameter.requires_grad]
            if locked and trained:
                raise ValueError(
                    f"{name}=true keeps a tower as it is, but something, a callback perhaps, lets {len(trained)} of its parameters train, "
                    f"{trained[0]} for example; leave that out, or set {name}=false"
                )
