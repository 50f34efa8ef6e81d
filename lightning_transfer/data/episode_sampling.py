"""Which images an episode has: drawn by its number alone, so that any process can draw any episode."""

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from lightning_transfer.seeds import derived_seed

Count = int | tuple[int, int]  # or from the one to the other, drawn


class EpisodeShape(NamedTuple):
    """How many classes, examples of each and queries of each; queries can be spread unevenly, their number in all kept."""

    ways: Count
    shots: Count
    queries: int
    imbalance: float | None = None

    def is_fixed(self) -> bool:
        """Whether all episodes are of one shape."""
        return isinstance(self.ways, int) and isinstance(self.shots, int)


class DrawnEpisode(NamedTuple):
    """Numbers of images, as an `ImageDataset` counts them, the way that each is of, and the class of each way."""

    support: list[int]
    support_ways: list[int]
    query: list[int]
    query_ways: list[int]
    classes: list[int]


class Pool(NamedTuple):
    """The images that episodes are drawn from.

    Args:
        support: by class what can be examples: the number of an image, or those of near-copies, of which an episode has one.
        query: the same of queries; none where they are the same images, of which an episode then asks no example.
        size: images in all: number `draw x size + index` is a draw of image `index`.
        draws: how many draws of each image count as images; none where each episode makes one draw of its own.
        turns: how many of the classes in a row are turned versions of as many others: class `turn x K + k` is class k turned.
    """

    support: Sequence[Sequence[Sequence[int]]]
    query: Sequence[Sequence[Sequence[int]]] | None
    size: int
    draws: int | None = None
    turns: int = 1

    def most_shots(self, k: int, queries: int) -> int:
        """Examples that class k has beside so many queries."""
        draws = self.draws or 1
        images = len(self.support[k])
        if self.query is not None:
            return draws * images if queries <= draws * len(self.query[k]) else 0
        return draws * max(0, images + -queries // draws)

    def most_queries(self, k: int, shots: int) -> int:
        """Queries that class k has beside so many examples."""
        draws = self.draws or 1
        if self.query is not None:
            return draws * len(self.query[k])
        return draws * max(0, len(self.support[k]) + -shots // draws)


class EpisodeSampler:
    """Draws the episodes of a pool by their numbers.

    Args:
        pool: what to draw from, which has enough of everything, see `check_pool`.
        shape: of the episodes.
        seed: of the choice.
    """

    def __init__(self, pool: Pool, shape: EpisodeShape, seed: int) -> None:
        self.pool = pool
        self.shape = shape
        self.seed = seed

    def draw(self, number: int) -> DrawnEpisode:
        """The episode of this number, whichever were drawn before."""
        # Python's generator: to choose 20 of 6,000 images it draws 20 numbers, torch's 6,000
        rng = random.Random(derived_seed(self.seed, number))
        classes = self._classes(rng)
        shots = [self._shots(rng, k) for k in classes]
        queries = self._queries(rng, classes, shots)
        found = DrawnEpisode([], [], [], [], classes)
        for way, (k, s, q) in enumerate(zip(classes, shots, queries, strict=True)):
            examples, asked = self._images(rng, k, s, q)
            found.support.extend(self._drawn(rng, examples, s, number))
            found.query.extend(self._drawn(rng, asked, q, number))
            found.support_ways.extend([way] * s)
            found.query_ways.extend([way] * q)
        return found

    def _classes(self, rng: random.Random) -> list[int]:
        # Two turned versions of one class never meet: of an O they would be one class with two numbers. Vinyals et al. count each as a
        # class of its own and let them meet.
        count = len(self.pool.support) // self.pool.turns
        chosen = rng.sample(range(count), _between(rng, self.shape.ways))
        return chosen if self.pool.turns == 1 else [rng.randrange(self.pool.turns) * count + k for k in chosen]

    def _shots(self, rng: random.Random, k: int) -> int:
        shots = self.shape.shots
        if isinstance(shots, int):
            return shots
        return rng.randint(shots[0], min(shots[1], self.pool.most_shots(k, self.shape.queries)))

    def _queries(self, rng: random.Random, classes: list[int], shots: list[int]) -> list[int]:
        """How many of each way: alike, or by shares that are drawn from a Dirichlet distribution, as far as there are images."""
        each = self.shape.queries
        if self.shape.imbalance is None:
            return [each] * len(classes)
        drawn = _gammas(rng, self.shape.imbalance, len(classes))
        wanted = [each * len(classes) * part / sum(drawn) for part in drawn]
        room = [self.pool.most_queries(k, s) for k, s in zip(classes, shots, strict=True)]
        counts = [0] * len(classes)
        for _ in range(each * len(classes)):  # the next query to the way that lacks most
            way = max((w for w, r in enumerate(room) if counts[w] < r), key=lambda w: wanted[w] - counts[w])
            counts[way] += 1
        return counts

    def _images(
        self, rng: random.Random, k: int, shots: int, queries: int
    ) -> tuple[list[Sequence[int]], list[Sequence[int]]]:
        """Images to make examples of, and others to make queries of."""
        support, draws = self.pool.support[k], self.pool.draws or 1
        if self.pool.query is not None:
            asked = self.pool.query[k]
            return rng.sample(support, min(shots, len(support))), rng.sample(asked, min(queries, len(asked)))
        if shots + queries <= len(support):
            chosen = rng.sample(support, shots + queries)
            return chosen[:shots], chosen[shots:]
        least, most = -(-shots // draws), len(support) + -queries // draws
        # in the proportion of what is wanted, as far as the draws of the others do for it
        cut = min(max(round(len(support) * shots / (shots + queries)), least), most)
        chosen = rng.sample(support, len(support))
        return chosen[:cut], chosen[cut:]

    def _drawn(self, rng: random.Random, chosen: list[Sequence[int]], count: int, number: int) -> list[int]:
        """So many draws of images, as many different images as there are."""
        size, draws = self.pool.size, self.pool.draws
        images = [alike[0] if len(alike) == 1 else rng.choice(alike) for alike in chosen]
        if draws is None:
            return [number * size + i for i in images]
        if draws == 1:
            return images
        rounds = [rng.sample(range(draws), -(-count // len(images))) for _ in images[:count]]
        return [rounds[j % len(images)][j // len(images)] * size + images[j % len(images)] for j in range(count)]


def _between(rng: random.Random, count: Count) -> int:
    return count if isinstance(count, int) else rng.randint(*count)


def _gammas(rng: random.Random, alpha: float, count: int) -> list[float]:
    """Gamma variates of one concentration over the largest of them, by their logarithms: those of a small one are all 0 as floats."""
    logs = [math.log(rng.gammavariate(alpha + 1, 1.0)) + math.log(1 - rng.random()) / alpha for _ in range(count)]
    return [math.exp(log - max(logs)) for log in logs]
