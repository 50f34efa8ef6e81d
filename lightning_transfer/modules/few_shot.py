"""Tasks instead of samples: a network learns to answer, or is asked, by a few labelled examples."""

from functools import partial
from typing import Any

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from torch.optim import AdamW
from torchmetrics import MetricCollection

from lightning_transfer.backbones import as_backbone
from lightning_transfer.contracts import Episode, FewShotRule, HeadFactory, ImageBatch, InnerLoop, ModelEdit, StepOutput
from lightning_transfer.data.datasets import EMBEDDING
from lightning_transfer.data.episodes import EpisodeData
from lightning_transfer.edits.freeze import hold_statistics
from lightning_transfer.features.once import embed_all, embed_once
from lightning_transfer.fewshot import PrototypeRule
from lightning_transfer.losses.supervised import CrossEntropy, SupervisedLoss
from lightning_transfer.metrics.episodes import episode_metrics
from lightning_transfer.models import Classifier
from lightning_transfer.modules.base import TransferModule, check_range
from lightning_transfer.optim import Optim


class FewShotModule(TransferModule):
    """Answer the queries of episodes by a rule on embeddings, or by an inner loop that adapts the network to each episode.

    Training is on episodes of base classes, through the rule (prototypical networks, matching networks, R2-D2) or the inner loop (MAML); with
    a `head` it is the plain classification of base-class images, and only validation and test are episodes (Baseline, SimpleShot).
    Nothing needs to be trained at all: `lightning-transfer test` asks a pretrained backbone.

    Logged is the mean accuracy over episodes, `val/accuracy` and `test/accuracy`, with half the width of its 95 % interval,
    `.../accuracy_ci95`. Where a rule answers, validation and test embed each image once, and episodes are drawn from the embeddings.

    Args:
        backbone: as for `FinetuneModule`.
        rule: answers by embeddings; `PrototypeRule` if neither it nor an inner loop is given.
        inner_loop: answers by a copy of the backbone that it adapts to the support.
        head: makes the head of (D, K) for training on images; `data.train_on=images` gives them.
        num_classes: K, of the data.
        optim: optimiser, schedule and groups; AdamW at 0.001 with warm-up and cosine if not given.
        loss: of the head; `CrossEntropy` if not given. Episodes are learned by the cross-entropy of their queries.
        edits: applied to backbone and head in turn, before training.
        max_gigabytes: that a side's embeddings may take in each process's memory, in 10⁹ bytes; with 0 the images of each episode are
            embedded anew.
        class_names: K names.
        image_size: side of the images in pixels.
        metrics: of logits (E, Q, K) and targets (E, Q); `episode_metrics` if not given.
        channels_last: whether images and weights are laid out with channels last in memory.
        compile: whether the model is compiled by `torch.compile`.

    Raises:
        ValueError: for a rule beside an inner loop; before training for what cannot be trained, or other data than it takes.

    Example:
        >>> from lightning_transfer import TimmBackbone
        >>> module = FewShotModule(TimmBackbone("test_resnet", pretrained=False))
        >>> support, query = torch.rand(1, 4, 3, 64, 64), torch.rand(1, 6, 3, 64, 64)
        >>> ways = ImageBatch(support, torch.tensor([[0, 0, 1, 1]]))
        >>> module.answer(Episode(ways, ImageBatch(query, torch.zeros(1, 6)), torch.tensor([[8, 3]]))).shape
        torch.Size([1, 6, 2])
    """

    model: Classifier
    episodic = True

    def __init__(
        self,
        backbone: nn.Module | str,
        rule: FewShotRule | None = None,
        inner_loop: InnerLoop | None = None,
        head: HeadFactory | None = None,
        num_classes: int = 1,
        optim: Optim | None = None,
        loss: SupervisedLoss | None = None,
        edits: list[ModelEdit] | None = None,
        max_gigabytes: float = 4.0,
        class_names: list[str] | None = None,
        image_size: int | None = None,
        metrics: MetricCollection | None = None,
        channels_last: bool = True,
        compile: bool = False,  # noqa: A002  # torch's own word
    ) -> None:
        _check_fit(rule, inner_loop, head, loss)
        super().__init__(
            num_classes,
            class_names,
            image_size,
            "classification",
            optim or Optim(partial(AdamW, lr=1e-3)),
            metrics or episode_metrics(),
            channels_last,
            compile,
        )
        self.model = Classifier(as_backbone(backbone, image_size), head or nn.Identity, num_classes)
        for edit in edits or ():
            edit(self.model)
        self.loss = (loss or CrossEntropy()) if head is not None else None
        if self.loss is not None:
            self.loss.set_num_classes(num_classes)
        self.rule = (rule or PrototypeRule()) if inner_loop is None else None
        self.inner_loop = inner_loop
        if inner_loop is not None:
            inner_loop.build(self.model.backbone.num_features)
            if inner_loop.trains:  # a batch norm would see the queries beside one another
                hold_statistics(self.model.backbone)
        if head is not None:  # they answer after the training, not in it
            self._answers_by().requires_grad_(False)
        self.max_gigabytes = max_gigabytes
        self.train(self.training)

    def _answers_by(self) -> FewShotRule | InnerLoop:
        found: FewShotRule | InnerLoop = self.rule or self.inner_loop  # type: ignore[assignment]  # one of the two
        return found

    def learners(self) -> nn.Module:
        return nn.ModuleDict(
            {"backbone": self.model.backbone, "head": self.model.head, "answers_by": self._answers_by()}
        )

    def setup(self, stage: str) -> None:
        data = self._data()
        if data is not None and self.inner_loop is not None:
            _check_ways(self.inner_loop, data, stage)
        if data is not None and self.rule is not None and self.max_gigabytes > 0:
            data.embedded_first = frozenset(("val", "test"))
        super().setup(stage)

    def complete(self) -> None:
        if (data := self._data()) is not None:
            _check_batches(self.model.head, data)
        if self.loss is None:
            _check_training(self._answers_by())
            if self.inner_loop is not None:
                _check_norms(self.model.backbone)

    def _data(self) -> EpisodeData | None:
        data = getattr(self._trainer, "datamodule", None)
        return data if isinstance(data, EpisodeData) else None

    def on_validation_start(self) -> None:
        self._look_ahead("val")

    def on_test_start(self) -> None:
        super().on_test_start()
        self._look_ahead("test")

    def on_predict_start(self) -> None:
        self._look_ahead("test")

    def _look_ahead(self, name: str) -> None:
        """Embed what a rule needs of base classes, and each image of a side once, by the weights of the moment."""
        data = self._data()
        if data is None or self.rule is None:
            return
        backbone = self.model.backbone
        if self.rule.needs_base or self.rule.needs_names:
            self.rule.prepare(self._base(self.rule, data), self.answer_names())
        if self.max_gigabytes > 0 and name in data.sets:
            embed_once(backbone, self.trainer, name, self.max_gigabytes)

    def _base(self, rule: FewShotRule, data: EpisodeData) -> Tensor:
        """Embeddings (N, D) of base classes, none where the rule needs none."""
        if not rule.needs_base:
            return torch.empty(0, self.model.backbone.num_features, device=self.device)
        if data.base_set is None:
            raise ValueError(
                f"rule={type(rule).__name__} looks at embeddings of base classes, and there are none; lower val_classes and novel_classes, "
                "which leave none"
            )
        return embed_all(self.model.backbone, self.trainer, data.base_set)[0].to(self.device)

    def answer(self, episode: Episode) -> Tensor:
        """Answer the queries of episodes, each by itself: logits (E, Q, K).

        In training the gradient goes to the weights.
        """
        if self.training:
            return self._answer(episode)
        # Lightning's inference mode lets nobody differentiate, which inner loops and some rules do
        with torch.inference_mode(False), torch.no_grad():
            return self._answer(episode)

    def _answer(self, episode: Episode) -> Tensor:
        target = _plain(episode.support.target)
        if self.inner_loop is not None:
            support, query = (_plain(part.image) for part in episode[:2])
            each = zip(support, target, query, strict=True)
            return torch.stack([self.inner_loop(self.model.backbone, *one) for one in each])
        support, query = self._embeddings(episode)
        assert self.rule is not None  # one of the two is there
        logits: Tensor = self.rule(support, target, query, _plain(episode.classes))
        return logits

    def _embeddings(self, episode: Episode) -> tuple[Tensor, Tensor]:
        """Of support (E, S, D) and queries (E, Q, D), in one pass."""
        support, query = episode.support, episode.query
        if EMBEDDING in support.modalities:
            return _plain(support.modalities[EMBEDDING]), _plain(query.modalities[EMBEDDING])
        images = torch.cat([support.image, query.image], dim=1)
        embedding = self(_plain(images.flatten(0, 1))).features.embedding.unflatten(0, images.shape[:2])
        return embedding[:, : support.image.shape[1]], embedding[:, support.image.shape[1] :]

    def step(self, batch: ImageBatch | Episode) -> StepOutput:
        if isinstance(batch, Episode):
            logits, target = self.answer(batch), batch.query.target
            loss = cross_entropy(logits.flatten(0, 1).float(), target.flatten())
        else:
            logits, target = self(batch.image).logits, batch.target
            loss = self.loss(logits, target)  # type: ignore[misc]  # with images to train on there is a head
        if self.training and not loss.requires_grad:
            raise ValueError(f"rule={type(self._answers_by()).__name__} passes no gradient to the backbone; {_REMEDY}")
        terms = {"accuracy": (logits.argmax(dim=-1) == target).float().mean()} if self.training else {}
        return StepOutput(loss, terms, logits, target)

    def test_logits(self, image: Tensor) -> Tensor:
        if self.loss is None:
            raise ValueError(
                "a FewShotModule without a head answers queries by examples of their ways, and knows no classes of its own; train a head "
                "on its backbone: FinetuneModule with edits=[StartFrom(ckpt_path)], or `lightning-transfer probe --ckpt_path`"
            )
        return super().test_logits(image)

    def predict_step(self, batch: Episode, batch_idx: int) -> tuple[Tensor, ImageBatch]:  # type: ignore[override]
        """Return probabilities (E · Q, K) of all of the data's classes, which only an episode's ways have, and whose they are."""
        self._check(batch)
        probability = self.answer(batch).float().softmax(dim=-1)
        names = self.answer_names()
        classes = batch.classes.unsqueeze(1).expand_as(probability)
        among = probability.new_zeros(*probability.shape[:2], len(names)).scatter(2, classes, probability)
        query = batch.query
        return among.flatten(0, 1), query._replace(
            image=query.image.new_empty(0), target=query.target.flatten(), modalities={}
        )

    def answer_names(self) -> list[str]:
        data = self._data()  # episodes have classes of their own, whatever was trained on
        return super().answer_names() if data is None else data.new_class_names or data.all_class_names

    def _count(self, batch: ImageBatch | Episode) -> Any:
        return float(len(batch.classes)) if isinstance(batch, Episode) else super()._count(batch)

    def _check(self, batch: ImageBatch | Episode) -> None:
        if not isinstance(batch, Episode):
            super()._check(batch)
            return
        known = bool((batch.query.target >= 0).all())
        if known and self.rule is not None and self.rule.assumes_balance and not _is_balanced(batch):
            rank_zero_warn(
                f"rule={type(self.rule).__name__} takes the queries to be spread evenly over the ways, which these are not; its answers "
                "suffer from it: set data.imbalance to null, or take a rule that does not, PrototypeRule for example"
            )
        if EMBEDDING not in batch.support.modalities:
            check_range(batch.support.image)
            check_range(batch.query.image)
            self._try(batch.support.image[0])


def _plain(tensor: Tensor) -> Tensor:
    """A tensor that can be differentiated by: one made in inference mode is copied."""
    return tensor.clone() if tensor.is_inference() else tensor


def _is_balanced(episode: Episode) -> bool:
    """Whether each way is asked for equally often."""
    counts = one_hot(episode.query.target, episode.classes.shape[-1]).sum(dim=-2)
    return bool((counts == counts[..., :1]).all())


def _check_fit(
    rule: FewShotRule | None, inner_loop: InnerLoop | None, head: HeadFactory | None, loss: SupervisedLoss | None
) -> None:
    """Refuse arguments that do not fit one another."""
    if rule is not None and inner_loop is not None:
        raise ValueError(
            f"rule={type(rule).__name__} and inner_loop={type(inner_loop).__name__} both answer the queries; give one of them"
        )
    if loss is not None and head is None:
        raise ValueError(
            f"loss={type(loss).__name__} is of a head, which is not given; set head=LinearHead to train on images, or leave loss out"
        )
    if inner_loop is not None and inner_loop.ways is not None and head is not None:
        raise ValueError(
            f"inner_loop={type(inner_loop).__name__} has a head for ways={inner_loop.ways}, which episodes train, but head= trains on images; "
            "leave head out, or set inner_loop.ways=null to begin with prototypes"
        )


def _check_ways(inner_loop: InnerLoop, data: EpisodeData, stage: str) -> None:
    """Refuse episodes of other ways than an inner loop is made for."""
    shapes = [("ways", data.shape), *([("train_ways", data.train_shape)] if stage == "fit" else [])]
    for argument, shape in shapes:
        if inner_loop.ways is not None and shape.ways != inner_loop.ways:
            raise ValueError(
                f"inner_loop={type(inner_loop).__name__} has a head for ways={inner_loop.ways}, but data.{argument}={shape.ways}; give both "
                "the same, or set inner_loop.ways=null to begin with prototypes, which do for any number"
            )


_REMEDY = "set head=LinearHead and data.train_on=images to train on images of base classes, or test a backbone as it is"


def _check_training(answers_by: FewShotRule | InnerLoop) -> None:
    """Refuse what episodes cannot train a backbone by."""
    name = type(answers_by).__name__
    if isinstance(answers_by, FewShotRule) and answers_by.needs_base:
        raise ValueError(
            f"rule={name} looks at embeddings of base classes, which move while episodes train the backbone; {_REMEDY}"
        )
    if isinstance(answers_by, InnerLoop) and not answers_by.trains:
        raise ValueError(f"inner_loop={name} passes no gradient to the backbone; {_REMEDY}")


def _check_batches(head: nn.Module, data: EpisodeData) -> None:
    """Refuse episodes for a head, and images without one."""
    headless = isinstance(head, nn.Identity)
    if data.train_on == "images" and headless:
        raise ValueError(
            "data.train_on=images gives images, which a head learns; set head=LinearHead, or train_on=episodes"
        )
    if data.train_on == "episodes" and not headless:
        raise ValueError(
            f"head={type(head).__name__} learns from images, and the data gives episodes; set data.train_on=images, or leave head out"
        )


def _check_norms(backbone: nn.Module) -> None:
    """Refuse batch norms that have seen nothing: an inner loop lets them keep the statistics that they came with."""
    for module in backbone.modules():
        seen = getattr(module, "num_batches_tracked", None)
        if isinstance(seen, Tensor) and not seen:
            raise ValueError(
                "an inner loop has batch norms keep the statistics that they came with, for they would see an episode's queries beside one "
                "another, and those of this backbone have none yet; take Conv4 with norm=group, or a pretrained backbone"
            )
