"""Probes on cached features: an epoch of SGD against one that runs the frozen backbone, and LogisticProbe against scikit-learn.

usage: python scripts/bench/probe.py [--runs 5] [--pixels 64] [--backbone tf_efficientnet_lite0] [--weights packaged]
scikit-learn's digits. Both sides of a ratio take turns. An epoch on features includes its share of opening them from disk. LogisticProbe
and scikit-learn get the same standardised features in single precision and minimise the same objective; scikit-learn's `tol` is set
to the gradient at which ours stops, and both objectives, in double precision, are printed. The last line is one JSON object;
`ratio` is scikit-learn's seconds over ours, geometric mean over c (bar: 1), `epoch_ratio` backbone over features (bar: 20).
"""

import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from common import median, parser, refuse_under_load, report, silence
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim import SGD

from lightning_transfer import TimmBackbone
from lightning_transfer.backbones import Backbone
from lightning_transfer.contracts import Embedded
from lightning_transfer.data import DigitsData
from lightning_transfer.features import cached_features, read_features
from lightning_transfer.features.extract import embed
from lightning_transfer.heads import LinearHead
from lightning_transfer.probes import LogisticProbe, SgdProbe
from lightning_transfer.probes.scaling import scaling

EPOCHS = 20
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)


def seconds(work: Callable[..., Any], *arguments: Any) -> float:
    begin = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begin


def compare_epochs(backbone: Backbone, data: DigitsData, folder: Path, runs: int) -> float:
    """Seconds of an epoch through the backbone over those of one on features."""
    head = LinearHead(backbone.num_features, data.num_classes)
    optimizer = SGD(head.parameters(), lr=0.01, momentum=0.9)
    probe = SgdProbe([0.01], [0.0], epochs=EPOCHS, batch_size=data.batch_size)

    def through_backbone() -> None:
        for embedding, batch in embed(backbone, data, data.splits()["train"]):
            optimizer.zero_grad()
            cross_entropy(head(embedding.clone()), batch.target).backward()
            optimizer.step()

    def on_features() -> None:
        probe.fit(read_features(folder), None, data.num_classes)

    online, cached = [], []
    for _ in range(runs):
        online.append(seconds(through_backbone))
        cached.append(seconds(on_features) / EPOCHS)
    ratios = [a / b for a, b in zip(online, cached, strict=True)]
    print(f"an epoch through the backbone {median(online, ' s')}, on features {median(cached, ' s', 4)}")
    return statistics.median(ratios)


def objective(weight: Tensor, bias: Tensor, train: Embedded, c: float) -> float:
    weight = weight.double()
    logits = train.embedding.double() @ weight.T + bias
    return float(c * cross_entropy(logits, train.target, reduction="sum") + weight.square().sum() / 2)


def compare_fits(train: Embedded, num_classes: int, runs: int) -> tuple[float, float]:
    """scikit-learn's seconds over ours, and the greatest excess of our objective over scikit-learn's, relative."""
    from sklearn.linear_model import LogisticRegression

    embedding, target = train.embedding.numpy(), train.target.numpy()
    product, excess = 1.0, -1.0
    for c in STRENGTHS:
        probe = LogisticProbe([c], standardise=False)
        head = probe.fit(train, None, num_classes).head
        ours = objective(head.weight, head.bias, train, c)
        tolerance = probe.tolerance * ours / (c * len(target))
        model = LogisticRegression(C=c, tol=tolerance, max_iter=10_000)
        model.fit(embedding, target)
        theirs = objective(torch.from_numpy(model.coef_), torch.from_numpy(model.intercept_), train, c)
        times: tuple[list[float], list[float]] = [], []
        for _ in range(runs):
            times[0].append(seconds(probe.fit, train, None, num_classes))
            times[1].append(seconds(model.fit, embedding, target))
        ratio = statistics.median(b / a for a, b in zip(*times, strict=True))
        print(
            f"c={c:<6g} LogisticProbe {median(times[0], ' s')}, objective {ours:.6f}; "
            f"scikit-learn {median(times[1], ' s')}, objective {theirs:.6f}; ratio {ratio:.2f}"
        )
        product, excess = product * ratio, max(excess, ours / theirs - 1)
    return product ** (1 / len(STRENGTHS)), excess


def main() -> None:
    """Compute the features once and compare on them."""
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--pixels", type=int, default=64)
    arguments.add_argument("--backbone", default="tf_efficientnet_lite0")
    arguments.add_argument("--weights", default="packaged", help="packaged, true, a file, or false for random ones")
    args = arguments.parse_args()
    refuse_under_load()
    silence()
    warnings.filterwarnings("ignore")
    torch.manual_seed(0)
    weights = {"true": True, "false": False}.get(args.weights, args.weights)
    backbone = TimmBackbone(args.backbone, pretrained=weights)
    backbone.set_image_size(args.pixels)
    data = DigitsData(image_size=args.pixels, batch_size=64, num_workers=0)
    with tempfile.TemporaryDirectory() as folder:
        train = cached_features(backbone, data, "train", folder=folder)
        epoch_ratio = compare_epochs(backbone, data, Path(folder), args.runs)
        scaled = train._replace(embedding=scaling(train.embedding, standardise=True)(train.embedding))
        ratio, excess = compare_fits(scaled, data.num_classes, args.runs)
    report({"ratio": ratio, "epoch_ratio": epoch_ratio, "objective_excess": excess})


if __name__ == "__main__":
    main()
