"""The picture of an episode: what was shown, what was asked, and what was answered."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from lightning_transfer.contracts import Episode
from lightning_transfer.files import write_picture
from lightning_transfer.reports.pictures import RIGHT, WRONG, drawable, shortened
from lightning_transfer.reports.rows import draw_divider, empty_rows, write_name


class Way(NamedTuple):
    """A way of an episode: its class, the numbers of its examples' and queries' images, and of each query the class that was answered and its probability."""

    name: str
    examples: list[int]
    queries: list[int]
    said: list[str]
    probability: list[float]


def ways_of(episode: Episode, logits: Tensor, names: Sequence[str]) -> list[Way]:
    """Sort the first episode of a batch by its ways.

    Args:
        episode: with numbers of its images.
        logits: (E, Q, K).
        names: of all classes that `episode.classes` numbers.
    """
    classes = [names[k] for k in episode.classes[0].tolist()]
    (shown, example), (asked, query) = (
        _of_first(part.target, part.indices) for part in (episode.support, episode.query)
    )
    probability, answer = (part.tolist() for part in logits[0].float().softmax(dim=-1).max(dim=-1))
    found = []
    for way, name in enumerate(classes):
        own = [i for i, target in enumerate(asked) if target == way]
        found.append(
            Way(
                name,
                [number for number, target in zip(example, shown, strict=True) if target == way],
                [query[i] for i in own],
                [classes[answer[i]] for i in own],
                [probability[i] for i in own],
            )
        )
    return found


def _of_first(target: Tensor, indices: Tensor | None) -> tuple[list[int], list[int]]:
    assert indices is not None  # batches of ours are numbered
    return target[0].tolist(), indices[0].tolist()


def draw_episode(
    ways: Sequence[Way], image_of: Callable[[int], Tensor], path: Path, examples: int = 5, queries: int = 8
) -> None:
    """Lay the ways out in rows: examples at the left, queries at the right, with a blue frame where the answer is right and a red one where not.

    Args:
        ways: at least one.
        image_of: gives the pixels of a number, uint8 (3, H, W).
        path: of the PNG.
        examples: of a way that are drawn, at most.
        queries: likewise.
    """
    from matplotlib.figure import Figure

    left = min(examples, max(len(way.examples) for way in ways))
    right = min(queries, max(1, *(len(way.queries) for way in ways)))
    figure = Figure(figsize=(1.9 + 1.1 * (left + right), 0.75 + 1.25 * len(ways)), layout="constrained")
    grid = empty_rows(figure, len(ways), [1.5, *[1] * left, 0.12, *[1] * right])
    for line, way in zip(grid, ways, strict=True):
        write_name(line[0], way.name)
        for axes, number in zip(line[1 : left + 1], way.examples, strict=False):
            axes.imshow(drawable(image_of(number)), interpolation="nearest")
        draw_divider(line[left + 1])
        for axes, number, said, probability in zip(
            line[left + 2 :], way.queries, way.said, way.probability, strict=False
        ):
            axes.imshow(drawable(image_of(number)), interpolation="nearest")
            colour = RIGHT if said == way.name else WRONG
            axes.spines[:].set(visible=True, color=colour, linewidth=3)
            answer = "right" if said == way.name else shortened(said, 10)
            axes.set_title(f"{answer}, {probability:.2f}", fontsize=7, color=colour, pad=4)
    hits = sum(said == way.name for way in ways for said in way.said)
    figure.suptitle(
        f"left: examples; right: queries with answer and probability, {hits} of {sum(len(way.said) for way in ways)} right",
        fontsize=8, color="0.3",
    )  # fmt: skip
    write_picture(figure, path)
