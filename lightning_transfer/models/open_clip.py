"""Image-text models of open_clip, both towers of one, by name."""

import difflib
import json
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from lightning_transfer.backbones.base import Backbone
from lightning_transfer.backbones.weights import offline_if_unreachable
from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.contracts import Features
from lightning_transfer.extras import load_extra
from lightning_transfer.models.image_text import ImageTextModel
from lightning_transfer.text_towers.base import TextTokens, TextTower, with_entries

_PROBE = 8  # times the context length: how far the tokens of an over-long text are counted


class OpenClipModel(ImageTextModel):
    """A model of open_clip with its own projections, scale and, if it was trained with one, bias; images are in [0, 1].

    A checkpoint has its weights and statistics, and builds it without network. A model whose tokenizer lies on the hub, as SigLIP's does,
    looks for it there or in the hub's cache when it first reads a text; CLIP's comes with the package.

    Args:
        name: of a model of open_clip, `ViT-B-32` for example; `hf-hub:USER/NAME`, or `local-dir:FOLDER`, which bring their weights; or
            a configuration like open_clip's own: `embed_dim`, `vision_cfg`, `text_cfg`.
        pretrained: tag of weights on the hub, `laion2b_s34b_b79k` for example, or a file; false for random ones.
        image_size: side of the images in pixels, to which positions are adapted; the model's own if not given.

    Shape:
        as for `ImageTextModel`

    Raises:
        ValueError: for an unknown name or tag, with the nearest; for weights that do not fit, or a model that also writes captions.
        FileNotFoundError: for weights that cannot be had.
        ModuleNotFoundError: without the package open_clip_torch.

    Reference:
        Cherti et al., "Reproducible Scaling Laws for Contrastive Language-Image Learning", CVPR 2023.
    """

    def __init__(
        self, name: str | dict[str, Any], pretrained: str | bool = False, image_size: int | None = None
    ) -> None:
        open_clip = _package()
        config = _config(open_clip, name)
        with _without_remarks(), offline_if_unreachable():
            model = _build(open_clip, name, config, pretrained, image_size)
        statistics = [torch.tensor(model.visual.preprocess_cfg[key]).view(-1, 1, 1) for key in ("mean", "std")]
        scale, bias = model.logit_scale.detach().exp().item(), model.logit_bias
        visual = model.visual
        del model.visual, model.logit_scale, model.logit_bias
        super().__init__(
            _ImageTower(visual, config["embed_dim"], *statistics),
            _TextTower(model, config["embed_dim"], _tokenizer(name, config)),
            None,
            scale,
            None if bias is None else bias.item(),
        )
        if isinstance(name, str) and ":" in name:  # what the hub or a folder said, so that neither is needed again
            self.init_args |= {"name": config, "pretrained": False}


class _ImageTower(Backbone):
    """The visual half of a model, projection included, behind its normalisation."""

    mean: Tensor
    std: Tensor

    def __init__(self, visual: Any, num_features: int, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.visual, self.num_features = visual, num_features
        # kept in checkpoints: which they are is known by the tag of the weights, or by a file on the hub
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, image: Tensor) -> Features:
        return Features(self.visual((image - self.mean) / self.std))

    def set_image_size(self, image_size: int) -> None:
        made = self.visual.image_size
        side = made[0] if isinstance(made, tuple) else made
        if image_size != side:
            raise ValueError(
                f"the open_clip model takes images of {side} pixels, but image_size={image_size}; set data.image_size={side}, or the "
                f"model's own image_size={image_size}"
            )


class _TextTower(TextTower):
    """What is left of a model without its visual half."""

    def __init__(self, model: Any, num_features: int, tokenizer: Any) -> None:
        super().__init__()
        self.model, self.num_features, self.context_length = model, num_features, int(model.context_length)
        self._make_tokenizer = tokenizer
        self._tokenizer: Any = None

    def tokenize(self, texts: Sequence[str]) -> TextTokens:
        if self._tokenizer is None:
            self._tokenizer = self._make_tokenizer()
        ids = self._tokenizer([*texts], context_length=_PROBE * self.context_length)
        if hasattr(self._tokenizer, "eot_token_id"):  # CLIP's own pads with 0, which is a token too
            lengths = ids.argmax(dim=1) + 1
        else:
            lengths = (ids != self._tokenizer.tokenizer.pad_token_id).sum(dim=1)
        self.check(texts, lengths.tolist())
        # all of the length that positions are for: models without a causal mask look at the padding
        return TextTokens(ids[:, : self.context_length], torch.arange(self.context_length) < lengths[:, None])

    @property
    def _embedding(self) -> nn.Module:
        part = getattr(self.model, "text", self.model)
        found: nn.Module = (
            part.token_embedding if hasattr(part, "token_embedding") else part.transformer.get_input_embeddings()
        )
        return found

    def embed(self, ids: Tensor) -> Tensor:
        entries: Tensor = self._embedding(ids)
        return entries

    def encode(self, entries: Tensor, tokens: TextTokens) -> Tensor:
        with with_entries(self._embedding, entries):
            vectors: Tensor = self.model.encode_text(tokens.ids)
        return vectors


def _package() -> Any:
    return load_extra("open_clip", "OpenClipModel needs open_clip", "open_clip")


def _config(open_clip: Any, name: str | dict[str, Any]) -> dict[str, Any]:
    """The architecture, as open_clip writes it down."""
    if isinstance(name, dict):
        config: Any = name
    elif ":" in name:
        try:
            with offline_if_unreachable():
                config = open_clip.get_model_config(name)
        except Exception as error:  # of the hub, its transport, the folder or its file
            raise FileNotFoundError(
                f"model.name={name!r} cannot be had: {(str(error) or repr(error)).splitlines()[0]} (hf-hub:USER/NAME is on the Hugging "
                "Face hub, local-dir:FOLDER a folder with open_clip_config.json and weights)"
            ) from error
    else:
        config = open_clip.get_model_config(name)
        if config is None:
            raise ValueError(f"open_clip knows no model {name!r}; {_nearest(name, open_clip.list_models())}")
    if missing := [key for key in ("embed_dim", "vision_cfg", "text_cfg") if key not in config]:
        raise ValueError(
            f"the configuration of an open_clip model needs {', '.join(missing)}; it has {', '.join(config)}"
        )
    if "multimodal_cfg" in config:
        raise ValueError(
            f"{name!r} also writes captions, which an image-text model has no use for; take a CLIP or SigLIP"
        )
    return dict(config)


def _build(
    open_clip: Any, name: str | dict[str, Any], config: dict[str, Any], pretrained: str | bool, image_size: int | None
) -> Any:
    options: dict[str, Any] = {"force_image_size": image_size, "pretrained_text": False}
    if isinstance(name, dict) or (":" in name and expects_checkpoint()):
        with tempfile.TemporaryDirectory() as folder:
            (Path(folder) / "open_clip_config.json").write_text(json.dumps({"model_cfg": config}), encoding="utf-8")
            model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, **options)
        if pretrained and not expects_checkpoint():
            _load_file(open_clip, model, str(pretrained))
        return model
    if ":" in name:
        return open_clip.create_model(name, require_pretrained=True, **options)
    tag = _tag(open_clip, name, pretrained)
    about = open_clip.get_pretrained_cfg(name, tag) if tag else {}
    options["force_quick_gelu"] = bool(
        about.get("quick_gelu")
    )  # what the weights were trained with, whatever the name says
    if not tag or expects_checkpoint():
        model = open_clip.create_model(name, **options)
        if pretrained and not tag and not expects_checkpoint():
            _load_file(open_clip, model, str(pretrained))
        return model
    try:
        return open_clip.create_model(name, tag, **options)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"the weights pretrained={tag!r} of {name!r} cannot be had: {str(error).splitlines()[0]} (pretrained=false starts from "
            "random weights, a file's path needs no hub)"
        ) from error


def _tag(open_clip: Any, name: str, pretrained: str | bool) -> str | None:
    """The tag of weights, or none where they are random or in a file."""
    tags = open_clip.list_pretrained_tags_by_model(name)
    if pretrained is False or (isinstance(pretrained, str) and Path(pretrained).is_file()):
        return None
    if pretrained not in tags and not expects_checkpoint():
        raise ValueError(
            f"pretrained={pretrained!r} is no weights of {name!r} and no file; "
            + (_nearest(str(pretrained), tags) if tags else "open_clip has none for it, so give a file or false")
        )
    return str(pretrained) if pretrained in tags else None


def _load_file(open_clip: Any, model: Any, path: str) -> None:
    if not Path(path).is_file():
        raise FileNotFoundError(f"pretrained={path!r} is no file; give one, or false for random weights")
    try:
        open_clip.load_checkpoint(model, path)
    except (RuntimeError, KeyError) as error:
        raise ValueError(f"the weights in {path} do not fit the model: {str(error).splitlines()[0]}") from error


def _tokenizer(name: str | dict[str, Any], config: dict[str, Any]) -> Any:
    """What makes the tokenizer, once a text comes."""

    def make() -> Any:
        import open_clip

        text = config["text_cfg"]
        if isinstance(name, str):
            return open_clip.get_tokenizer(name)
        length, options = text.get("context_length", 77), text.get("tokenizer_kwargs", {})
        if text.get("hf_tokenizer_name"):
            return open_clip.HFTokenizer(
                text["hf_tokenizer_name"], length, tokenizer_mode=text.get("tokenizer_mode"), **options
            )
        return open_clip.SimpleTokenizer(context_length=length, **options)

    return make


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=5, cutoff=0.3)
    return f"the nearest are {', '.join(near)}" if near else f"there are {', '.join(sorted(known)[:8])}, ..."


@contextmanager
def _without_remarks() -> Iterator[None]:
    """Keep to itself what open_clip logs, by the root logger, of weights that a checkpoint is about to replace."""

    def refuse(record: logging.LogRecord) -> bool:  # noqa: ARG001
        return False

    root = logging.getLogger()
    root.addFilter(refuse)
    try:
        yield
    finally:
        root.removeFilter(refuse)
