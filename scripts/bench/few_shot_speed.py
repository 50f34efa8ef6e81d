"""Episodes on cached features, many at once, against easyfsl's evaluation on pre-extracted features.

usage: pip install easyfsl
       python scripts/bench/few_shot_speed.py [--runs 5] [--episodes 1000] [--batch 50] [--widths 640 1280] [--method prototypes]
5-way 5-shot episodes with 15 queries a way, of random features of 64 classes with 600 images, as miniImageNet has for training. Both sides
draw the episodes, take their features, answer and count what is right, in this process and without workers, in turns: ours by the
`EpisodeDataset` and the loader that `EpisodeData` has and a rule, easyfsl by FeaturesDataset, TaskSampler, DataLoader and evaluate. Memory
is the peak of a process of its own, for 600 episodes and for ten times as many. The last line is one JSON object: seconds of easyfsl over
ours by width (bar: 2), and the peak of many episodes over that of few (bar: 1.05).
"""

import multiprocessing
import random
import statistics
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from common import median, parser, refuse_under_load, report, silence
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from lightning_transfer.contracts import FewShotRule
from lightning_transfer.data.datasets import EMBEDDING, ImageDataset
from lightning_transfer.data.episode_sampling import EpisodeSampler, EpisodeShape, Pool
from lightning_transfer.data.episode_set import EpisodeDataset, whole_batch
from lightning_transfer.data.sources import ImageSource
from lightning_transfer.fewshot import BDCSPN, TIM, LaplacianShot, PrototypeRule, SimpleShot

CLASSES, IMAGES = 64, 600
WAYS, SHOTS, QUERIES = 5, 5, 15
# by name a rule, and what makes the same of easyfsl
METHODS: dict[str, tuple[Callable[[], FewShotRule], str, dict[str, Any]]] = {
    "prototypes": (PrototypeRule, "PrototypicalNetworks", {}),
    "simple_shot": (partial(SimpleShot, "L2N"), "SimpleShot", {"feature_normalization": 2.0}),
    "bd_cspn": (BDCSPN, "BDCSPN", {"feature_normalization": 2.0}),
    "laplacian_shot": (LaplacianShot, "LaplacianShot", {"feature_normalization": 2.0}),
    "tim": (partial(TIM, steps=50), "TIM", {"feature_normalization": 2.0}),
}


def features(width: int) -> tuple[Tensor, Tensor]:
    """Clusters that overlap, so that an accuracy below 1 can be compared: (N, D) and targets (N,)."""
    draw = torch.Generator().manual_seed(0)
    target = torch.arange(CLASSES).repeat_interleave(IMAGES)
    centre = torch.randn(CLASSES, 1, width, generator=draw)
    embedding = (
        torch.randn(CLASSES, IMAGES, width, generator=draw).mul_(6).add_(centre)
    )  # in place: the peak is not to be here
    return embedding.flatten(0, 1), target


class Embedded(ImageSource):
    """Images of which nothing but the embeddings is known."""

    def __init__(self, target: Tensor) -> None:
        self.targets = target
        self.names = [str(i) for i in range(len(target))]

    def image(self, index: int) -> Tensor:
        raise NotImplementedError


def ours(embedding: Tensor, target: Tensor, rule: FewShotRule, episodes: int, batch: int) -> float:
    """Accuracy over episodes."""
    images = ImageDataset(Embedded(target), torch.nn.Identity())
    images.embed(embedding.unsqueeze(0))
    pool = Pool([torch.nonzero(target == k).tolist() for k in range(CLASSES)], None, len(target))
    sampler = EpisodeSampler(pool, EpisodeShape(WAYS, SHOTS, QUERIES), seed=0)
    data = EpisodeDataset(images, sampler, torch.arange(CLASSES), episodes)
    right = 0
    with torch.inference_mode():
        for support, query, classes in DataLoader(data, batch_size=batch, collate_fn=whole_batch):
            logits = rule(support.modalities[EMBEDDING], support.target, query.modalities[EMBEDDING], classes)
            right += int((logits.argmax(dim=-1) == query.target).sum())
    return right / (episodes * WAYS * QUERIES)


def theirs(embedding: Tensor, target: Tensor, model: Any, episodes: int) -> float:
    """The same by easyfsl."""
    from easyfsl.datasets import FeaturesDataset
    from easyfsl.samplers import TaskSampler
    from easyfsl.utils import evaluate

    data = FeaturesDataset(target.tolist(), embedding, [str(k) for k in range(CLASSES)])
    # its sampler hands torch's an argument that newer releases do not take
    with patch.object(Sampler, "__init__", lambda *_, **__: None):
        sampler = TaskSampler(data, WAYS, SHOTS, QUERIES, episodes)
    loader = DataLoader(data, batch_sampler=sampler, collate_fn=sampler.episodic_collate_fn)
    return evaluate(model, loader, device="cpu", use_tqdm=False)


def compare(width: int, method: str, runs: int, episodes: int, batch: int) -> float:
    """Seconds of easyfsl over ours, the median of pairs."""
    from easyfsl import methods

    make, name, options = METHODS[method]
    embedding, target = features(width)
    sides = {
        "ours": lambda: ours(embedding, target, make(), episodes, batch),
        "easyfsl": lambda: theirs(embedding, target, getattr(methods, name)(**options), episodes),
    }
    taken: dict[str, list[float]] = {side: [] for side in sides}
    accuracy = {}
    for _ in range(runs + 1):  # the first of each to warm up
        for side, run in sides.items():
            begin = time.perf_counter()
            accuracy[side] = run()
            taken[side].append(time.perf_counter() - begin)
    ratios = [b / a for a, b in zip(*(taken[side][1:] for side in sides), strict=True)]
    shown = ", ".join(f"{side} {median(taken[side][1:], ' s')} at {accuracy[side]:.2%}" for side in sides)
    print(f"{method}, {width} wide, {episodes} episodes: {shown}; ratio {median(ratios)}", flush=True)
    return statistics.median(ratios)


def peak(width: int, method: str, episodes: int, batch: int) -> float:
    """Megabytes at most, features included, in a process of its own."""
    with multiprocessing.get_context("spawn").Pool(1) as process:
        return process.apply(_peak, (width, method, episodes, batch))


def _peak(width: int, method: str, episodes: int, batch: int) -> float:
    torch.set_num_threads(1)
    embedding, target = features(width)
    ours(embedding, target, METHODS[method][0](), episodes, batch)
    # Linux's own figure: that of `resource` begins at what the parent has
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(status["VmHWM"].split()[0]) / 1024


def main() -> None:
    """Compare by width, then look at the memory."""
    arguments = parser(__doc__)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--episodes", type=int, default=1000)
    arguments.add_argument("--batch", type=int, default=50, help="episodes that ours answers at once")
    arguments.add_argument("--widths", type=int, nargs="+", default=[640, 1280])
    arguments.add_argument("--method", choices=METHODS, default="prototypes")
    args = arguments.parse_args()
    refuse_under_load()
    silence()
    random.seed(0)  # easyfsl draws by it
    figures: dict[str, object] = {
        f"ratio_{width}": compare(width, args.method, args.runs, args.episodes, args.batch) for width in args.widths
    }
    few, many = (peak(args.widths[0], args.method, episodes, args.batch) for episodes in (600, 6000))
    print(f"peak memory of 600 episodes {few:.0f} MB, of 6,000 {many:.0f} MB")
    report(figures | {"many_over_few_memory": many / few})


if __name__ == "__main__":
    main()
