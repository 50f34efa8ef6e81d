"""What the parts of the package hand to one another: every tuple, alias and abstract class, and the letters for shapes.

Shape letters: B batch, C channels, H height, W width, D embedding, K classes or targets, N tokens or samples, M teachers; of episodes E,
S images of the support, Q queries, and K ways.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, NamedTuple

from torch import Tensor, as_tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lightning_transfer.parts import Part
from lightning_transfer.tasks import Task


class ImageBatch(NamedTuple):
    """Images in [0, 1], their targets, where each came from, its number in the split, the same samples in other modalities, and captions.

    Shape:
        image (B, C, H, W) float; target (B,) int64, or (B, K) float in [0, 1] for several labels an image, or (B, K) float for
        regression, or (B,) filled with -1 where the label is unknown; name has B entries, a file's path or `set/split/number`;
        indices (B,) int64; modalities by name, each (B, ...) in [0, 1]; text has B entries where the data knows captions.
    """

    image: Tensor
    target: Tensor
    name: Sequence[str] = ()
    indices: Tensor | None = None
    modalities: Mapping[str, Tensor] = {}  # never written to
    text: Sequence[str] = ()


class TextBatch(NamedTuple):
    """Rows of text, their classes or right answers, where each came from, and its number in the split.

    Shape:
        fields has B entries, what templates may name by its name; target (B,) int64, -1 where the class is unknown or an answer is
        free; answer has B entries where answers are texts; name has B entries, `FILE/row`; indices (B,) int64.
    """

    fields: Sequence[Mapping[str, str]]
    target: Tensor
    answer: Sequence[str] = ()
    name: Sequence[str] = ()
    indices: Tensor | None = None


class TextRows(NamedTuple):
    """A split of texts, all rows with the same fields.

    Shape:
        fields, name and, where answers are texts, answer have N entries; target (N,) int64, as in `TextBatch`.
    """

    fields: Sequence[Mapping[str, str]]
    target: Tensor
    answer: Sequence[str] = ()
    name: Sequence[str] = ()


class Features(NamedTuple):
    """A backbone's view of a batch: one vector an image, the map(s) it was pooled from, and named layers that were asked for.

    Shape:
        embedding (B, D); maps, each (B, C, H, W) or (B, N, D); layers, each with B in front.
    """

    embedding: Tensor
    maps: tuple[Tensor, ...] = ()
    layers: Mapping[str, Tensor] = {}  # never written to; empty, it leaves no trace where outputs are taken apart


class Episode(NamedTuple):
    """E few-shot tasks of one shape: of each a support with its labels, and queries to be told by it; both are batches.

    Shape:
        support and query as `ImageBatch` with (E, S) and (E, Q) in the place of (B,): image (E, S, C, H, W), target (E, S) int64, which
        numbers the ways from 0, indices (E, S); name in a row, E x S of them. classes (E, K) int64: which of the data's classes each way is.
    """

    support: ImageBatch
    query: ImageBatch
    classes: Tensor


class Prediction(NamedTuple):
    """Scores of the classes before softmax, or numbers in the targets' units; their features; and what each of several teachers counts.

    Shape:
        logits (B, K), or (M, B, K) from an ensemble of teachers; shares (M,) with sum 1, all alike if not given.
    """

    logits: Tensor
    features: Features
    shares: Tensor | None = None


class Embedded(NamedTuple):
    """A split as a frozen backbone sees it: one vector an image, its target, and where each image came from.

    Shape:
        embedding (N, D) float; target (N,) int64, or (N, K) float, in [0, 1] for several labels an image; name has N entries; task says
        what the targets are.
    """

    embedding: Tensor
    target: Tensor
    name: Sequence[str] = ()
    task: Task = "classification"


class Scored(NamedTuple):
    """A split as a model sees it: its logits, the targets, where each image came from, and which are near-copies of one another.

    Shape:
        logits (N, K) float; target (N,) int64, or (N, K) float, in [0, 1] for several labels an image; name and, where there are
        groups, group have N entries.
    """

    logits: Tensor
    target: Tensor
    name: Sequence[str]
    group: Sequence[str] | None = None


class StepOutput(NamedTuple):
    """What a module's step hands back: the loss, its unweighted terms for the log, and what the metrics compare.

    Shape:
        loss scalar; terms scalars; logits (B, K); target as in `ImageBatch`.
    """

    loss: Tensor
    terms: dict[str, Tensor]
    logits: Tensor | None = None
    target: Tensor | None = None


def logits_only(logits: Tensor | Sequence[Sequence[float]]) -> Prediction:
    """Wrap bare logits as a prediction, for losses that look at nothing else.

    Args:
        logits: (B, K) or (M, B, K), a tensor or nested lists.
    """
    logits = as_tensor(logits)
    return Prediction(logits, Features(logits.new_empty(*logits.shape[:-1], 0)))


class ModelEdit(Part, ABC):
    """Changes a model in place, once, before training: freeze, re-initialise, insert, prune."""

    @abstractmethod
    def __call__(self, model: nn.Module) -> None: ...


class Penalty(Part, nn.Module, ABC):
    """What a model's weights cost: a scalar ≥ 0 that is added to the training loss, and logged under the class's name.

    Whatever `remember` keeps as buffers comes back with a checkpoint, for it is called before a checkpoint's weights are loaded.
    """

    def remember(self, model: nn.Module) -> None:  # most penalties need nothing but the weights of the moment
        """Look at the model once, when it is built and edited, before training."""

    @abstractmethod
    def forward(self, model: nn.Module) -> Tensor: ...


class DistillLoss(Part, nn.Module, ABC):
    """What a student is made to learn from a teacher: two predictions of the same images and their targets to a scalar.

    The gradient goes to the student alone, and to whatever the loss itself learns.

    Attributes:
        compares_classes: whether teacher and student must know the same classes in the same order.
        needs_target: whether images without labels are of no use to it.
        needs_class: whether the target must be one class an image, which mixing takes away.
        needs_indices: whether `forward` must be given the images' numbers in the training split, as `indices` (B,).
        student_layers, teacher_layers: what it looks at in `Features.layers`: `PATH`, `PATH:output` or `PATH:input` of a module.
        identical_buffers: buffers that are the same in all processes without being sent around.
    """

    compares_classes: ClassVar[bool] = False
    needs_target: bool = False
    needs_class: bool = False
    needs_indices: ClassVar[bool] = False
    identical_buffers: ClassVar[tuple[str, ...]] = ()
    student_layers: Sequence[str] = ()
    teacher_layers: Sequence[str] = ()

    def prepare(  # most losses need nothing but predictions
        self, student: Prediction, teacher: Prediction, targets: Tensor | None
    ) -> None:
        """Make what depends on widths and data, once, before training.

        Args:
            student: its prediction of an example.
            teacher: its prediction of the same.
            targets: of the training split by index, (N,); none where they are not known.
        """

    @abstractmethod
    def forward(self, student: Prediction, teacher: Prediction, target: Tensor) -> Tensor: ...


class ViewLoss(Part, nn.Module, ABC):
    """What embeddings of several views of the same images are made to be like: embeddings, those of a teacher and targets to a scalar.

    The gradient goes to the student alone.

    Attributes:
        needs_teacher: whether it compares with a teacher, which follows the student.
        needs_predictor: whether it collapses without a predictor behind the student's projector.
        needs_target: whether images without labels are of no use to it.
        least_views, most_views: how many views of an image it takes; any number above the least where there is no most.
        student_views, teacher_views: which views it wants to have embedded, counted from 0; all if not given. A teacher sees those that
            are as large as the first.
        identical_buffers: buffers that are the same in all processes without being sent around.
    """

    needs_teacher: ClassVar[bool] = False
    needs_predictor: ClassVar[bool] = False
    needs_target: ClassVar[bool] = False
    least_views: ClassVar[int] = 2
    most_views: ClassVar[int | None] = None
    student_views: ClassVar[tuple[int, ...] | None] = None
    teacher_views: ClassVar[tuple[int, ...] | None] = None
    identical_buffers: ClassVar[tuple[str, ...]] = ()

    def build(self, width: int) -> None:  # most losses need nothing but embeddings
        """Make what depends on the embeddings' width, once, before training."""

    def uniform(self) -> float | None:  # few losses have a value that tells a collapse
        """The loss of a student and a teacher who say the same of every image, all answers being alike."""
        return None

    @abstractmethod
    def forward(self, student: Sequence[Tensor], teacher: Sequence[Tensor], target: Tensor) -> Tensor:
        """Compare embeddings.

        Args:
            student: one (B, D) a view.
            teacher: one (B, D) a view, without gradient; none without a teacher.
            target: (B,) int64, -1 where the label is unknown.
        """


class FewShotRule(Part, nn.Module, ABC):
    """Answers queries by a few labelled examples; nothing is kept from one call for the next.

    Attributes:
        needs_base: whether it must have been prepared with embeddings of base classes.
        needs_names: whether it must have been prepared with the names of the classes.
        transductive: whether an answer depends on what else is asked.
        assumes_balance: whether it takes the queries to be spread evenly over the ways.
    """

    needs_base: bool = False
    needs_names: ClassVar[bool] = False
    transductive: ClassVar[bool] = False
    assumes_balance: bool = False

    def prepare(self, base: Tensor, class_names: Sequence[str]) -> None:  # most rules need nothing but the episode
        """Look at embeddings (N, D) of base classes, N = 0 where it needs none, and at the names of all of the data's classes.

        This is done before episodes, and anew for another backbone; nothing of it is kept in a checkpoint.
        """

    @abstractmethod
    def forward(self, support: Tensor, target: Tensor, query: Tensor, classes: Tensor | None = None) -> Tensor:
        """Answer the queries of E episodes, each by itself; the letter E may be missing from all of them.

        Args:
            support: (E, S, D) embeddings.
            target: (E, S) int64, ways numbered from 0, each of them at least once.
            query: (E, Q, D).
            classes: (E, K) which of the data's classes the ways are.

        Returns:
            logits (E, Q, K)
        """


class InnerLoop(Part, nn.Module, ABC):
    """Adapts a copy of a network to the support of an episode and answers the queries with it; the network stays as it is.

    Attributes:
        trains: whether episodes train the backbone through it; else it takes one as it was trained before.
        ways: how many ways an episode must have, where it is made for a number of them.
    """

    trains: ClassVar[bool] = False
    ways: int | None = None

    def build(self, width: int) -> None:  # most inner loops learn nothing of their own
        """Make what depends on the embeddings' width, once, before training."""

    @abstractmethod
    def forward(self, backbone: nn.Module, support: Tensor, target: Tensor, query: Tensor) -> Tensor:
        """Answer the queries of one episode.

        Args:
            backbone: images (B, C, H, W) to `Features`; where episodes train it, the gradient goes to its weights.
            support: (S, C, H, W) in [0, 1].
            target: (S,) int64, ways numbered from 0, each of them at least once.
            query: (Q, C, H, W) in [0, 1].

        Returns:
            logits (Q, K)
        """


class Insertion(ModelEdit):
    """An edit that puts layers of its own into the model, which a checkpoint can be rid of again."""

    @classmethod
    @abstractmethod
    def fold(cls, model: nn.Module) -> None:
        """Take the layers out again, in place, and into the weights, such that the model computes what it did with them.

        Raises:
            ValueError: if no weights could compute the same.
        """

    @classmethod
    def left(cls, arguments: dict[str, Any]) -> tuple[type[ModelEdit], dict[str, Any]] | None:  # noqa: ARG003  # most leave nothing
        """The edit that is left once this one, made with these arguments, is folded, and its own; none where all of it went into weights."""
        return None


class FittedProbe(NamedTuple):
    """What a probe learned: a head, and what it chose on the validation split.

    Shape:
        head: embeddings (B, D) → logits (B, K).
    """

    head: nn.Module
    chosen: dict[str, float]


class Probe(Part, ABC):
    """Learns a head on fixed embeddings; where it is given several values of a hyper-parameter, the validation split chooses.

    Attributes:
        tasks: what the targets can be.
    """

    tasks: ClassVar[tuple[Task, ...]] = ("classification", "multi_label")

    @abstractmethod
    def fit(self, train: Embedded, val: Embedded | None, num_classes: int) -> FittedProbe:
        """Fit on `train`; `val` may be missing where there is nothing to choose."""


HeadFactory = Callable[[int, int], nn.Module]  # (in_features, num_classes) -> (B, D) to (B, K)
ProjectorFactory = Callable[[int], nn.Module]  # in_features -> (B, in_features) to (B, out_features), its attribute
TransformFactory = Callable[[int], nn.Module]  # image size in pixels -> uint8 or float (C, H, W) to (C, size, size)
OptimizerFactory = Callable[[Iterable], Optimizer]  # type: ignore[type-arg]  # jsonargparse needs the bare Iterable
SchedulerFactory = Callable[[Optimizer, int], LRScheduler]  # int: optimiser steps of the whole training
