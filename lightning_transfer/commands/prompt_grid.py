"""`lightning-transfer prompt_grid`: which template and which label words a language model answers best by, raw and calibrated."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from torch import Tensor

from lightning_transfer.asking import Choosing
from lightning_transfer.contracts import TextBatch, TextRows
from lightning_transfer.data.text import TextData
from lightning_transfer.demonstrations import Demonstrations
from lightning_transfer.devices import find_device
from lightning_transfer.files import write_csv
from lightning_transfer.language import LanguageModel
from lightning_transfer.metrics.asked import choosing_metrics
from lightning_transfer.reports.grid import draw_grid
from lightning_transfer.runs import run_folder
from lightning_transfer.templates import fields_of, read_templates

_FIGURES = ("accuracy", "accuracy_calibrated", "auroc")


class _Asked(NamedTuple):
    """A model, and the rows that it is asked."""

    model: LanguageModel
    data: TextData
    rows: TextRows
    pool: TextRows | None
    instruction: str
    separator: str


class _Compared(NamedTuple):
    preds: Tensor
    calibrated: Tensor
    target: Tensor


def prompt_grid(
    model: LanguageModel,
    data: TextData,
    templates: list[str] | str,
    words: list[list[str]] | None = None,
    demonstrations: Demonstrations | None = None,
    seeds: list[int] | None = None,
    instruction: str = "",
    separator: str = "\n\n",
    split: Literal["val", "test"] = "val",
    device: str = "auto",
    out: str | None = None,
) -> Path:
    """Measure each template with each choice of label words: accuracy, accuracy after contextual calibration, and area under the ROC curve.

    `prompt_grid.csv` has one row a template and choice of words, with mean and standard deviation over the seeds of the demonstrations; `grid.png` and
    `grid_calibrated.png` show both accuracies. What is chosen is chosen on `val`.

    Args:
        model: to ask.
        data: with classes.
        templates: the name of a list, a text file, one template, or several, with the data's fields and `{label}`.
        words: choices of label words, each in the order of the classes; the classes' names if not given.
        demonstrations: which examples are shown; none without.
        seeds: of the demonstrations, where they are drawn; their own if not given.
        instruction: a text in front of all.
        separator: between instruction, examples and query.
        split: whose rows are asked.
        device: where to compute, such as cuda:0; auto takes a GPU if there is one.
        out: the folder; one below runs if not given.

    Returns:
        the folder

    Raises:
        FileNotFoundError, ValueError: for a model or data that do not do, templates with unknown fields, or words that the model cannot tell apart.
    """
    place = find_device(device)
    if data.task != "classification":
        raise ValueError(
            f"data has task={data.task}, but label words are of classes; a text is asked for by `lightning-transfer test`"
        )
    sentences = read_templates(templates, must=(), may=[*data.inputs, "label"])
    choices = words if words is not None else [list(data.class_names)]
    for sentence in sentences:
        for choice in choices:
            Choosing(sentence, choice).build(model, data.class_names)
    model.to(place).eval()
    data.prepare_data()
    splits = data.splits()
    if split not in splits or not bool((splits[split].target >= 0).all()):
        raise ValueError(f"the data has no {split} rows of known classes; there are {', '.join(splits)}")
    asked = _Asked(model, data, splits[split], splits.get("train"), instruction, separator)
    drawn = _drawn(demonstrations, seeds)
    rows = []
    for sentence in sentences:
        figures = (
            _with_examples(asked, sentence, choices, drawn) if drawn else _without_examples(asked, sentence, choices)
        )
        for choice, found in zip(choices, figures, strict=True):
            rows.append(
                {"template": sentence.replace("\n", "\\n"), "words": "/".join(choice)}
                | _figures(data.class_names, found)
            )
    folder = Path(out) if out else run_folder("prompt_grid", None, "prompt_grid")
    write_csv(rows, folder / "prompt_grid.csv")
    columns = ["/".join(choice) for choice in choices]
    for figure, name in (("accuracy", "grid"), ("accuracy_calibrated", "grid_calibrated")):
        values = torch.tensor([row[figure] for row in rows]).view(len(sentences), -1)
        draw_grid(values, sentences, columns, folder / f"{name}.png", f"{figure.replace('_', ', ')}, {split}")
    Console().print(_table(rows, f"{len(splits[split].fields)} {split} rows of {type(data).__name__}"))
    print(f"written to {folder}")
    return folder


def _drawn(demonstrations: Demonstrations | None, seeds: Sequence[int] | None) -> list[Demonstrations]:
    """The demonstrations, once a seed; none where none are shown."""
    if seeds is None:
        return [demonstrations] if demonstrations is not None else []
    if demonstrations is None or "seed" not in demonstrations.init_args:
        given = type(demonstrations).__name__ if demonstrations is not None else "null"
        raise ValueError(
            f"seeds={list(seeds)} draw demonstrations, but demonstrations={given} draws none; RandomDemonstrations does"
        )
    return [type(demonstrations)(**(demonstrations.init_args | {"seed": seed})) for seed in seeds]


@torch.no_grad()
def _without_examples(asked: _Asked, template: str, choices: Sequence[list[str]]) -> Iterator[list[_Compared]]:
    """All words are scored at once: without examples the prompt does not depend on them."""
    every = list(dict.fromkeys(word for choice in choices for word in choice))
    asking = Choosing(template, every, instruction=asked.instruction, separator=asked.separator)
    asking.said = every
    asking.prepare(None, asked.data.class_names, asked.data.inputs)
    empty = [dict.fromkeys(fields_of(template), text) for text in asking.without_content]
    free = asking.logits(asked.model, empty)
    raw = torch.cat([asking.logits(asked.model, batch.fields) for batch in _batches(asked)])
    for choice in choices:
        which = [every.index(word) for word in choice]
        prior = free[:, which].softmax(dim=-1).mean(dim=0).log()
        yield [_Compared(raw[:, which], raw[:, which] - prior, asked.rows.target.to(raw.device))]


@torch.no_grad()
def _with_examples(
    asked: _Asked, template: str, choices: Sequence[list[str]], drawn: Sequence[Demonstrations]
) -> Iterator[list[_Compared]]:
    names = asked.data.class_names
    for choice in choices:
        found = []
        for demonstrations in drawn:
            asking = Choosing(
                template,
                choice,
                demonstrations=demonstrations,
                instruction=asked.instruction,
                separator=asked.separator,
            )
            asking.build(asked.model, names)
            asking.prepare(asked.pool, names, asked.data.inputs)
            parts: list[Any] = [asking.measured(asked.model, batch)[1] for batch in _batches(asked)]
            found.append(_Compared(*(torch.cat([part[name] for part in parts]) for name in _Compared._fields)))
        yield found


def _batches(asked: _Asked) -> Iterator[TextBatch]:
    rows, size = asked.rows, asked.data.batch_size
    for i in range(0, len(rows.fields), size):
        yield TextBatch(rows.fields[i : i + size], rows.target[i : i + size].to(asked.model.device))


def _figures(class_names: Sequence[str], found: Sequence[_Compared]) -> dict[str, float]:
    """Means over seeds, and standard deviations where there are several."""
    each = []
    for compared in found:
        metrics = choosing_metrics(class_names, calibrated=True).to(compared.preds.device)
        metrics.update(**compared._asdict())
        each.append({name: value.cpu() for name, value in metrics.compute().items()})
    figures: dict[str, float] = {}
    for name in _FIGURES:
        values = torch.stack([one[name].double() for one in each])
        figures[name] = values.mean().item()
        if len(values) > 1:
            figures[f"{name}_deviation"] = values.std().item()
    return figures


def _table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    table = Table(title=title, box=SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    for heading in ("template", "words", *_FIGURES):
        table.add_column(
            heading.replace("accuracy_calibrated", "calibrated"), justify="right" if heading in _FIGURES else "left"
        )
    for row in rows:
        figures = [
            f"{row[name]:.4f}" + (f" ± {row[f'{name}_deviation']:.4f}" if f"{name}_deviation" in row else "")
            for name in _FIGURES
        ]
        table.add_row(row["template"], row["words"], *figures)
    return table
