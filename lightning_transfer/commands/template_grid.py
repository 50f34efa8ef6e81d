"""`lightning-transfer template_grid`: which sentences around a class's name, and which names, an image-text model reads best."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn
from torch.nn.functional import normalize

from lightning_transfer.adapters.zero_shot import check_words, template_vectors
from lightning_transfer.backbones import ImageTextBackbone
from lightning_transfer.data import ImageData
from lightning_transfer.devices import find_device
from lightning_transfer.features.extract import embed
from lightning_transfer.files import write_csv
from lightning_transfer.models.image_text import ImageTextModel
from lightning_transfer.models.image_text_checkpoint import as_image_text
from lightning_transfer.reports.grid import draw_grid
from lightning_transfer.runs import run_folder
from lightning_transfer.templates import read_templates

Row = dict[str, Any]
_NAMES = "names"  # the variant without a synonym
_ALL = "all templates"


class Shown(NamedTuple):
    """Vectors (N, D) of a split's images, and their targets (N,)."""

    embedding: Tensor
    target: Tensor


def template_grid(
    image_text: nn.Module | str,
    data: ImageData,
    templates: list[str] | str = "imagenet",
    synonyms: dict[str, list[str]] | None = None,
    device: str = "auto",
    out: str | None = None,
) -> Path:
    """Measure each template alone and all together, with the classes' names and with each synonym in the place of a name.

    The validation images choose: templates, one after the other as long as the mean over the chosen ones gets better; and then for
    each class the word. The test images are looked at for the table at the end alone. `template_grid.csv` has one row a template and variant of
    the words, `chosen.csv` the figures of what was chosen and `grid.png` shows the grid.

    Args:
        image_text: a checkpoint of an image-text model, or a model.
        data: with validation images; names the classes.
        templates: the name of a list, a text file, one template, or several, with `{}` for the class's name.
        synonyms: other words for some of the classes, by their names.
        device: where to compute, such as cuda:0; auto takes a GPU if there is one.
        out: the folder; one below runs if not given.

    Returns:
        the folder

    Raises:
        FileNotFoundError, ValueError: for an image-text model that is none, data without validation images, or words and templates that
            do not do.
    """
    place = find_device(device)
    names, sentences = list(data.class_names), read_templates(templates)
    variants = _variants(names, synonyms or {})
    if data.task != "classification":
        raise ValueError(f"data has task={data.task}, but texts are compared with one another: one class an image")
    model: Any = as_image_text(image_text)
    model.backbone.set_image_size(data.image_size)
    model.to(place)
    data.prepare_data()
    if "val" not in data.splits():
        raise ValueError("the data has no validation images to choose by; set data.val_fraction above 0")
    vectors = {words: template_vectors(model, words, sentences) for words in variants.values()}
    val = _shown(model, data, "val")
    rows = [
        {"template": template, "words": variant, "val/accuracy": accuracy(vectors[words][:, which], val)}
        for variant, words in variants.items()
        for template, which in _alone_and_together(sentences).items()
    ]
    folder = Path(out) if out else run_folder("template_grid", None, "template_grid")
    write_csv(rows, folder / "template_grid.csv")
    draw_grid(
        torch.tensor([row["val/accuracy"] for row in rows]).view(len(variants), -1).T,
        [*sentences, _ALL][: len(rows) // len(variants)],
        list(variants),
        folder / "grid.png",
    )
    chosen = _chosen(names, sentences, vectors, variants, val, data, model)
    write_csv(chosen, folder / "chosen.csv")
    Console().print(_table(chosen, f"{len(val.target)} validation images of {type(data).__name__} choose"))
    print(f"written to {folder}")
    return folder


def _variants(names: Sequence[str], synonyms: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """The names themselves, and one variant a synonym in the place of its class's name."""
    if unknown := sorted(set(synonyms) - set(names)):
        raise ValueError(f"synonyms names {unknown[:5]}, but the classes are {list(names)[:10]}")
    found = {_NAMES: tuple(names)}
    for name, others in synonyms.items():
        for other in others:
            found[f"{name}: {other}"] = tuple(other if each == name else each for each in names)
    for words in found.values():
        check_words(words)
    return found


def _alone_and_together(templates: Sequence[str]) -> dict[str, list[int]]:
    alone = {template: [i] for i, template in enumerate(templates)}
    return alone | ({_ALL: list(range(len(templates)))} if len(templates) > 1 else {})


def _shown(model: ImageTextModel, data: ImageData, split: str) -> Shown:
    pairs = [(vectors, batch.target) for vectors, batch in embed(ImageTextBackbone(model), data, data.splits()[split])]
    device = model.log_scale.device
    return Shown(*(torch.cat(part).to(device) for part in zip(*pairs, strict=True)))


def accuracy(vectors: Tensor, shown: Shown) -> float:
    """Share of images nearest to their own class, by the mean of each class's texts.

    Args:
        vectors: (K, T, D) of unit length.
        shown: images; those of unknown classes, below 0, do not count.
    """
    known = shown.target >= 0
    said = shown.embedding[known] @ normalize(vectors.mean(dim=1), dim=-1).T
    return (said.argmax(dim=1) == shown.target[known]).double().mean().item()


def forward_selection(vectors: Tensor, shown: Shown) -> list[int]:
    """Numbers of templates, each the one that helps those before it most, as long as one helps; of equals the first.

    Args:
        vectors: (K, T, D) of unit length.
        shown: images to choose by.
    """
    chosen: list[int] = []
    best = -1.0
    while len(chosen) < vectors.shape[1]:
        left = [i for i in range(vectors.shape[1]) if i not in chosen]
        scores = {i: accuracy(vectors[:, [*chosen, i]], shown) for i in left}
        following = max(left, key=lambda i: (scores[i], -i))
        if scores[following] <= best:
            break
        best = scores[following]
        chosen.append(following)
    return chosen


def _chosen(
    names: Sequence[str],
    sentences: Sequence[str],
    vectors: Mapping[tuple[str, ...], Tensor],
    variants: Mapping[str, tuple[str, ...]],
    val: Shown,
    data: ImageData,
    model: ImageTextModel,
) -> list[Row]:
    """Figures of the first template, of all, of those chosen, and of those with the words chosen."""
    plain = vectors[variants[_NAMES]]
    picked = forward_selection(plain, val)
    worded, words = _choose_words(names, variants, vectors, picked, val)
    shown = {"val": val}
    if "test" in data.splits():
        shown["test"] = _shown(model, data, "test")
    ways = {
        "first template": (plain[:, :1], sentences[:1], names),
        _ALL: (plain, sentences, names),
        "chosen templates": (plain[:, picked], [sentences[i] for i in picked], names),
        "chosen templates and words": (worded, [sentences[i] for i in picked], words),
    }
    return [
        {"way": way, **{f"{split}/accuracy": accuracy(found, images) for split, images in shown.items()}}
        | {"templates": "|".join(said), "words": "|".join(called)}
        for way, (found, said, called) in ways.items()
    ]


def _choose_words(
    names: Sequence[str],
    variants: Mapping[str, tuple[str, ...]],
    vectors: Mapping[tuple[str, ...], Tensor],
    picked: Sequence[int],
    val: Shown,
) -> tuple[Tensor, list[str]]:
    """Class by class the word that serves best beside those chosen so far; of equals the name."""
    found, words = vectors[variants[_NAMES]][:, list(picked)].clone(), list(names)
    for variant in list(variants.values())[1:]:
        k = next(k for k, (word, name) in enumerate(zip(variant, names, strict=True)) if word != name)
        trial = found.clone()
        trial[k] = vectors[variant][k, list(picked)]
        if accuracy(trial, val) > accuracy(found, val):
            found, words[k] = trial, variant[k]
    return found, words


def _table(rows: Sequence[Row], title: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    columns = [key for key in rows[0] if key.endswith("accuracy")]
    for heading in ("", *columns, "templates"):
        table.add_column(heading, justify="right" if heading else "left")
    for row in rows:
        count = row["templates"].count("|") + 1
        table.add_row(row["way"], *(f"{row[column]:.4f}" for column in columns), str(count))
    return table
