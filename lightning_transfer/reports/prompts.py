"""Pictures of a prompt and what it does; matplotlib takes half a second to import, and needs no window system."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.utils import make_grid

from lightning_transfer.files import write_picture
from lightning_transfer.prompts.base import COLOURS, PixelPrompt
from lightning_transfer.reports.pictures import shortened

_MOST_TARGETS = 30  # rows of the heat map that are readable
_SOURCES_EACH = 3  # columns that a row brings along


@torch.no_grad()
def draw_prompt(prompt: PixelPrompt, path: Path) -> None:
    """Draw the prompt on grey, and the amplitude of its spectrum over the frequencies, in decades.

    Args:
        prompt: in evaluation mode.
        path: of the PNG.
    """
    from matplotlib.figure import Figure

    size = prompt.image_size
    grey = torch.full((1, COLOURS, size, size), 0.5, device=prompt.values.device)
    shown = prompt(grey)[0].float().cpu()
    amplitude = torch.fft.fftshift(torch.fft.fft2((shown - 0.5).mean(dim=0)).abs())
    figure = Figure(figsize=(9, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.imshow(shown.clamp(0, 1).permute(1, 2, 0).numpy(), interpolation="nearest")
    outside = ((shown < 0) | (shown > 1)).float().mean().item()
    left.set_title("prompt on grey" + (f", {outside:.0%} of it cut to [0, 1]" if outside else ""), fontsize=9)
    left.axis("off")
    drawn = right.imshow(
        amplitude.clamp(min=1e-6).log10().numpy(), cmap="magma", extent=(-0.5, 0.5, 0.5, -0.5), interpolation="nearest"
    )
    right.set(xlabel="cycles a pixel, across", ylabel="cycles a pixel, down")
    right.set_title("spectrum of its mean over the colours", fontsize=9)
    figure.colorbar(drawn, ax=right, label="log10 amplitude", shrink=0.8)
    write_picture(figure, path)


@torch.no_grad()
def draw_examples(prompt: PixelPrompt, images: Tensor, path: Path) -> None:
    """Draw images above the same with the prompt.

    Args:
        prompt: in evaluation mode.
        images: (B, 3, H, H) in [0, 1].
        path: of the PNG.
    """
    from matplotlib.figure import Figure

    rows = {"images": images, "as the source sees them": prompt(images.to(prompt.values.device)).clamp(0, 1)}
    figure = Figure(figsize=(max(4.0, 1.5 * len(images)), 3.8), layout="constrained")
    for axes, (title, row) in zip(figure.subplots(2, 1), rows.items(), strict=True):
        axes.imshow(make_grid(row.float().cpu(), nrow=len(row)).permute(1, 2, 0).numpy(), interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.axis("off")
    write_picture(figure, path)


@torch.no_grad()
def mapping_matrix(mapping: nn.Module, num_source: int) -> Tensor:
    """How much each target's logit (row) grows with each source class's (column), (K, S): exact for all mappings that are linear."""
    device = next((t.device for t in (*mapping.parameters(), *mapping.buffers())), torch.device("cpu"))
    ones = torch.eye(num_source, device=device)
    weights: Tensor = mapping(ones) - mapping(torch.zeros_like(ones))
    return weights.T.float().cpu()


def draw_mapping(
    weights: Tensor, class_names: Sequence[str] | None, source_names: Sequence[str] | None, path: Path
) -> None:
    """Draw the weights of the source classes that matter most to each target.

    Args:
        weights: (K, S).
        class_names: K, or none.
        source_names: S, or none.
        path: of the PNG.
    """
    from matplotlib.figure import Figure

    shown = weights[:_MOST_TARGETS]
    rows = [_named(class_names, k) for k in range(len(shown))]
    columns = _columns(shown)
    values = shown[:, columns]
    most = values.abs().max().item() or 1.0
    figure = Figure(figsize=(3.5 + 0.28 * len(columns), 3.2 + 0.28 * len(rows)), layout="constrained")
    axes = figure.subplots()
    drawn = axes.imshow(values.numpy(), cmap="RdBu_r", vmin=-most, vmax=most, aspect="auto", interpolation="nearest")
    known = [name.partition(",")[0] for name in source_names] if source_names else None  # the rest are synonyms
    axes.set_xticks(range(len(columns)), [_named(known, s) for s in columns], rotation=90, fontsize=7)
    axes.set_yticks(range(len(rows)), rows, fontsize=7)
    axes.set(xlabel="source class", ylabel="target")
    left_out = len(weights) - len(shown)
    axes.set_title(f"label mapping{f', without {left_out} further targets' if left_out else ''}", fontsize=9)
    figure.colorbar(drawn, ax=axes, label="weight")
    write_picture(figure, path)


def _columns(weights: Tensor) -> list[int]:
    """The sources of largest weight of each target, in the targets' order, each once."""
    best = weights.abs().topk(min(_SOURCES_EACH, weights.shape[1]), dim=1)
    return list(dict.fromkeys(best.indices[best.values > 0].tolist())) or [0]


def _named(names: Sequence[str] | None, number: int) -> str:
    return shortened(names[number], 26) if names else str(number)
