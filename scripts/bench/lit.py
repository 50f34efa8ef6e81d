"""LiT in small, on stamps: how often unseen captions and pictures find one another, over splits by caption.

usage: python scripts/bench/lit.py [--seeds 5] [--steps 400] [--pairs 0] [--choose] [--out runs/lit]
ImageNet EfficientNet-Lite0 and MiniLM are locked, two linear projections of 256 dimensions learn. Of the different captions of the 15
largest categories, 99 drawn by the seed are for the test and 99 for validation, each with its first picture; all others train, or as many
pairs of them as `--pairs` says. Features are computed once, for all seeds. Beside it: the sigmoid loss; captions dealt out at random, which
must end at chance; the categories told by their names alone (zero-shot), by the mean of their names with each of their subcategories', and by
the mean of their training captions; and a linear probe on the features of the training pictures.
`--choose` measures settings on the validation captions instead, and looks at no test picture.
Prints a table and, as its last line, one JSON object; the bars are R@1 0.224, R@5 0.425 and 15 seconds.
"""

import io
import statistics
import time
from argparse import Namespace
from collections import Counter, defaultdict
from contextlib import redirect_stdout
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from common import parser, quiet_trainer, report, silence
from lightning.pytorch import seed_everything
from torch.nn.functional import normalize
from torch.optim import AdamW

from lightning_transfer import ImageTextModule, Optim, TimmBackbone
from lightning_transfer.backbones import Backbone
from lightning_transfer.contracts import Embedded
from lightning_transfer.data import EvalTransform, StampsData
from lightning_transfer.data.sources import ImageSource, Subset
from lightning_transfer.features import cached_features
from lightning_transfer.losses.pair import ImageTextLoss, PairwiseSigmoid, SymmetricCrossEntropy
from lightning_transfer.probes import LogisticProbe
from lightning_transfer.text_towers import SentenceTower

UNSEEN, CATEGORIES, BATCH = 99, 15, 256


class Setting(NamedTuple):
    """What is chosen on validation captions."""

    rate: float
    decay: float


TRIED = {
    "softmax": [Setting(3e-4, 0.1), Setting(1e-3, 0.1), Setting(3e-4, 10.0), Setting(1e-3, 10.0)],
    "sigmoid": [Setting(1e-3, 0.1), Setting(3e-3, 0.1)],
}
CHOSEN = {"softmax": Setting(3e-4, 0.1), "sigmoid": Setting(1e-3, 0.1)}
LOSSES: dict[str, type[ImageTextLoss]] = {"softmax": SymmetricCrossEntropy, "sigmoid": PairwiseSigmoid}


class Stamps(StampsData):
    """Pictures by unseen captions, whose features are known."""

    def __init__(self, features: Embedded, seed: int, pairs: int = 0, shuffled: bool = False) -> None:
        super().__init__(min_per_class=1, batch_size=BATCH, num_workers=0)
        self.features, self.seed, self.pairs, self.shuffled = features, seed, pairs, shuffled
        self.kinds: dict[str, set[str]] = defaultdict(set)  # subcategories in words, of each category
        for row in self.rows():
            words = row["subcategory"].replace("/", " ").replace("_", " ").replace("cartoon", " ").split()
            self.kinds[row["category"]].add(f"{row['category']}: {' '.join(words) or row['category']}")

    def sources(self) -> dict[str, ImageSource]:
        whole = super().sources()["train"]
        largest = {k for k, _ in Counter(whole.targets.tolist()).most_common(CATEGORIES)}
        captions = whole.captions or []
        first: dict[str, int] = {}
        for i, caption in enumerate(captions):
            if int(whole.targets[i]) in largest:
                first.setdefault(caption, i)
        generator = torch.Generator().manual_seed(self.seed)
        order = [[*first][i] for i in torch.randperm(len(first), generator=generator).tolist()]
        test, val = order[:UNSEEN], order[UNSEEN : 2 * UNSEEN]
        seen = {*order[2 * UNSEEN :]}
        train = torch.tensor(
            [i for i, caption in enumerate(captions) if caption in seen and int(whole.targets[i]) in largest]
        )
        if self.pairs:
            train = train[torch.randperm(len(train), generator=generator)[: self.pairs]]
        parts = {
            "train": train,
            "val": torch.tensor([first[c] for c in val]),
            "test": torch.tensor([first[c] for c in test]),
        }
        found: dict[str, ImageSource] = {name: Subset(whole, rows) for name, rows in parts.items()}
        if self.shuffled:
            dealt = torch.randperm(len(train), generator=generator).tolist()
            found["train"].captions = [(found["train"].captions or [])[i] for i in dealt]
        return found

    def embedded(self, split: str) -> Embedded:
        """Features of a split."""
        source, row = self.splits()[split], {name: i for i, name in enumerate(self.features.name)}
        return Embedded(self.features.embedding[[row[name] for name in source.names]], source.targets)

    def setup(self, stage: str) -> None:
        super().setup(stage)
        for name, images in self.sets.items():
            images.embed(self.embedded(name).embedding[None])


def features_of_all(backbone: Backbone, args: Namespace) -> Embedded:
    data = StampsData(
        min_per_class=1,
        image_size=args.pixels,
        val_fraction=0,
        test_fraction=0,
        batch_size=64,
        eval_transform=partial(EvalTransform, crop=1.0),
    )
    return cached_features(backbone, data, "train", args.out / "features")


def train(
    loss: str, setting: Setting, data: Stamps, towers: tuple[Backbone, SentenceTower], args: Namespace
) -> tuple[ImageTextModule, float]:
    """Train two projections; returns the module and its seconds."""
    seed_everything(data.seed, verbose=False)
    optim = Optim(partial(AdamW, lr=setting.rate, weight_decay=setting.decay))
    module = ImageTextModule(
        *towers, loss=LOSSES[loss](), optim=optim, lock_image=True, lock_text=True, max_gigabytes=0
    )
    begin = time.perf_counter()
    with redirect_stdout(io.StringIO()):
        quiet_trainer(args.steps, accelerator="cpu", max_epochs=-1).fit(module, data)
    return module, time.perf_counter() - begin


def measure(module: ImageTextModule, data: Stamps, split: str) -> dict[str, float]:
    """Retrieval over a split, and the share of its pictures whose category is told by its name."""
    trainer = quiet_trainer(1, accelerator="cpu")
    run = trainer.test if split == "test" else trainer.validate
    (found,) = run(module, data, verbose=False)
    figures = {key.partition("/")[2]: value for key, value in found.items()}
    part, seen = data.embedded(split), data.splits()["train"]
    classes = sorted(set(part.target.tolist()))
    of_class = {
        k: [(seen.captions or [])[i] for i in (seen.targets == k).nonzero().flatten().tolist()] for k in classes
    }
    texts = {
        "zero_shot": [[f"a picture of {data.class_names[k]}"] for k in classes],
        "by_subcategories": [sorted(data.kinds[data.class_names[k]]) for k in classes],
        "by_captions": [captions or [data.class_names[k]] for k, captions in of_class.items()],
    }
    with torch.no_grad():
        pictures = module.model.project_image(part.embedding)
        for name, of_classes in texts.items():
            told = torch.stack([normalize(module.model.encode_text(of).mean(dim=0), dim=0) for of in of_classes])
            answers = torch.tensor(classes)[(pictures @ told.T).argmax(dim=1)]
            figures[name] = (answers == part.target).float().mean().item()
    return figures


def probe(data: Stamps) -> float:
    """Test accuracy of a linear probe, its strength chosen on the validation pictures."""
    head = LogisticProbe().fit(data.embedded("train"), data.embedded("val"), data.num_classes).head
    test = data.embedded("test")
    with torch.no_grad():
        return (head(test.embedding.clone()).argmax(dim=1) == test.target).float().mean().item()


def choose(features: Embedded, towers: tuple[Backbone, SentenceTower], args: Namespace) -> None:
    """Print validation figures of settings."""
    for loss, settings in TRIED.items():
        for setting in settings:
            found = []
            for seed in range(args.seeds):
                data = Stamps(features, seed, args.pairs)
                found.append(measure(train(loss, setting, data, towers, args)[0], data, "val"))
            means = {key: round(statistics.mean(f[key] for f in found), 3) for key in found[0]}
            print(loss, *setting, means, flush=True)


def main() -> None:
    """Train over seeds and print what unseen captions find."""
    arguments = parser(__doc__)
    arguments.add_argument("--seeds", type=int, default=5)
    arguments.add_argument("--steps", type=int, default=400)
    arguments.add_argument("--pairs", type=int, default=0, help="training pairs; all if 0")
    arguments.add_argument("--pixels", type=int, default=224)
    arguments.add_argument("--choose", action="store_true")
    arguments.add_argument("--out", type=Path, default=Path("runs/lit"))
    args = arguments.parse_args()
    silence()
    towers = TimmBackbone("tf_efficientnet_lite0", pretrained="packaged").eval(), SentenceTower().eval()
    features = features_of_all(towers[0], args)
    if args.choose:
        choose(features, towers, args)
        return
    ways = {"softmax": ("softmax", False), "sigmoid": ("sigmoid", False), "shuffled captions": ("softmax", True)}
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in ways}
    for seed in range(args.seeds):
        for name, (loss, shuffled) in ways.items():
            data = Stamps(features, seed, args.pairs, shuffled)
            module, seconds = train(loss, CHOSEN[loss], data, towers, args)
            rows[name].append(
                measure(module, data, "test") | {"seconds": seconds, "pairs": len(data.splits()["train"])}
            )
            if not shuffled:
                rows[name][-1]["probe"] = probe(data)
    figures: dict[str, object] = {}
    for name, found in rows.items():
        print(f"{name}, {found[0]['pairs']:.0f} pairs")
        for key in found[0]:
            values = [f[key] for f in found]
            print(
                f"  {key:18} {statistics.mean(values):.3f} ± {statistics.stdev(values) if len(values) > 1 else 0:.3f}"
            )
            figures[f"{name}/{key}"] = statistics.mean(values)
    report(figures)


if __name__ == "__main__":
    main()
