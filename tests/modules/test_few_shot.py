import csv
from functools import partial
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch.optim import Adam

from lightning_transfer import FewShotModule, FinetuneModule, Optim
from lightning_transfer.__main__ import main
from lightning_transfer.backbones import Conv4, TimmBackbone
from lightning_transfer.callbacks import GlobalBatch, PredictionWriter
from lightning_transfer.contracts import Episode, FewShotRule, ImageBatch
from lightning_transfer.data import EpisodeData, FakeData
from lightning_transfer.edits import FreezeBackbone, StartFrom
from lightning_transfer.fewshot import PrototypeRule
from lightning_transfer.heads import LinearHead
from lightning_transfer.inner_loops import ANIL, MAML, FineTuning, TransductiveFineTuning
from lightning_transfer.losses.supervised import CrossEntropy


def data(**options):
    inner = FakeData(image_size=32, num_workers=0, num_classes=10, images_per_class=8)
    usual = {
        "ways": 3,
        "shots": 1,
        "queries": 2,
        "episodes": 6,
        "train_episodes": 4,
        "val_classes": 0.3,
        "novel_classes": 0.3,
    }
    return EpisodeData(inner, **usual | options)


def module(answers=None, head=None, norm="group", **options):
    kind = {"inner_loop" if isinstance(answers, (MAML, FineTuning)) else "rule": answers} if answers else {}
    known = {"optim": Optim(partial(Adam, lr=3e-3), schedule=None), "image_size": 32, "channels_last": False}
    return FewShotModule(Conv4(norm=norm), head=head, **kind, **known | options)


def one_episode(ways=3, shots=2, queries=4, episodes=2):
    support = torch.arange(ways).repeat(shots).expand(episodes, -1)
    query = torch.arange(ways).repeat(queries).expand(episodes, -1)
    patterns = torch.rand(episodes, ways, 3, 32, 32)
    images = [ImageBatch((patterns[:, t[0]] + torch.rand(*t.shape, 3, 32, 32)) / 2, t) for t in (support, query)]
    return Episode(*images, torch.stack([torch.randperm(9)[:ways] for _ in range(episodes)]))


@pytest.mark.parametrize(
    "answers", [None, MAML(0.01, 2), MAML(0.01, 2, ways=3), ANIL(0.01, 2, ways=3), MAML(0.01, 2, first_order=True)]
)
def test_overfits_an_episode(answers):
    torch.manual_seed(0)
    made, episode = module(answers).train(), one_episode()
    optimizer = Adam(made.learners().parameters(), lr=1e-3)
    losses = []
    for _ in range(40):
        loss = made.step(episode).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.2 * losses[0]


@pytest.mark.parametrize("answers", [None, MAML(0.1, 1, ways=3)])
def test_episodes_are_answered_each_by_itself(answers):
    made, episode = module(answers).eval(), one_episode(episodes=3)
    together = made.answer(episode)
    for e in range(3):
        parts = [part._replace(image=part.image[e : e + 1], target=part.target[e : e + 1]) for part in episode[:2]]
        alone = made.answer(Episode(*parts, episode.classes[e : e + 1]))
        torch.testing.assert_close(alone[0], together[e], atol=1e-4, rtol=1e-4)


def figures(run):
    return {name: value.item() for name, value in run.callback_metrics.items()}


@pytest.mark.parametrize(
    ("answers", "head", "options"),
    [
        (None, None, {}),
        (None, LinearHead, {"train_on": "images"}),
        (MAML(0.1, 1, ways=3), None, {}),
        (ANIL(0.1, 1), None, {"train_ways": 4}),
        (TransductiveFineTuning(1e-3, 2), LinearHead, {"train_on": "images"}),
    ],
)
def test_trains_and_is_the_same_from_its_checkpoint(trainer, tmp_path, answers, head, options):
    episodes = data(batch_size=2, **options)
    made = module(answers, head, num_classes=episodes.num_classes, class_names=episodes.class_names)
    before = made.model.backbone.blocks[0][0].weight.clone()
    run = trainer(max_epochs=2, enable_checkpointing=True)
    run.fit(made, episodes)
    assert {"train/loss", "train/accuracy", "val/loss", "val/accuracy", "val/accuracy_ci95"} <= set(
        run.callback_metrics
    )
    assert not torch.equal(before, made.model.backbone.blocks[0][0].weight)
    run.test(made, episodes)
    measured = figures(run)
    loaded = FewShotModule.load_from_checkpoint(run.checkpoint_callback.best_model_path)
    assert type(loaded.inner_loop) is type(made.inner_loop)
    again = trainer()
    again.test(loaded, data(batch_size=2, **options))
    assert figures(again) == pytest.approx({k: v for k, v in measured.items() if k.startswith("test/")}, abs=1e-5)


def test_the_backbone_serves_other_modules(trainer):
    run = trainer(max_epochs=1, enable_checkpointing=True)
    made = module()
    run.fit(made, data())
    path = run.checkpoint_callback.best_model_path
    for other in (
        FinetuneModule(Conv4(norm="group"), 5, edits=[StartFrom(path)], image_size=32),
        module(edits=[StartFrom(path)]),
    ):
        for name, tensor in made.model.backbone.state_dict().items():
            assert torch.equal(other.model.backbone.state_dict()[name], tensor)


@pytest.mark.parametrize("stage", ["test", "validate"])
def test_embedding_each_image_once_changes_nothing(trainer, stage):
    looks = {}
    for gigabytes in (4.0, 0.0):
        torch.manual_seed(3)
        made, seen = module(max_gigabytes=gigabytes, norm="batch"), []
        embed = made.model.backbone.forward
        made.model.backbone.forward = lambda image, embed=embed, seen=seen: seen.append(len(image)) or embed(image)
        run = trainer()
        getattr(run, stage)(made, data(batch_size=4, episodes=30))
        looks[gigabytes] = (figures(run), sum(seen))
    assert looks[4.0][0] == pytest.approx(looks[0.0][0], abs=1e-5)
    assert looks[4.0][1] == 3 * 8  # novel classes, images each
    assert looks[0.0][1] > 30 * 9


def test_validation_embeds_by_the_weights_of_the_moment(trainer):
    torch.manual_seed(0)
    found = []
    for gigabytes in (4.0, 0.0):
        torch.manual_seed(3)
        run = trainer(max_epochs=3)
        run.fit(module(max_gigabytes=gigabytes), data())
        found.append(figures(run))
    assert found[0] == pytest.approx(found[1], abs=1e-4)


class Centred(FewShotRule):
    """Prototypes behind the mean of the base classes."""

    needs_base = True

    def __init__(self):
        super().__init__()
        self.names, self.mean = None, None

    def prepare(self, base, class_names):
        self.names, self.mean = list(class_names), base.mean(dim=0)

    def forward(self, support, target, query, classes=None):
        return PrototypeRule()(support - self.mean, target, query - self.mean)


class Even(PrototypeRule):
    assumes_balance = True


def test_a_rule_sees_the_base_classes(trainer):
    made, episodes = module(Centred(), norm="batch"), data()
    trainer().test(made, episodes)
    images = torch.stack([episodes.sets["base"][i][0] for i in range(len(episodes.sets["base"]))])
    with torch.no_grad():
        torch.testing.assert_close(made.rule.mean, made.eval()(images).features.embedding.mean(dim=0))
    assert made.rule.names == episodes.all_class_names


def test_a_rule_that_assumes_balance_says_so(trainer):
    with pytest.warns(
        UserWarning, match="rule=Even takes the queries to be spread evenly over the ways, which these are not"
    ):
        trainer().test(module(Even()), data(imbalance=0.5, queries=3))
    trainer().test(module(Even()), data())


def test_frozen_norms_of_an_inner_loop_stay(trainer):
    made = FewShotModule(TimmBackbone("test_resnet", pretrained=False), inner_loop=MAML(0.01, 1), image_size=32)
    for layer in made.modules():
        if hasattr(layer, "num_batches_tracked"):
            layer.num_batches_tracked += 1  # as if it had been trained
    before = {name: tensor.clone() for name, tensor in made.named_buffers()}
    trainer(max_epochs=1).fit(made, data())
    assert all(torch.equal(tensor, before[name]) for name, tensor in made.named_buffers())


def test_answers_by_names(trainer):
    made, episodes = module(), data()
    (probability, query), *_ = trainer().predict(made, episodes)
    assert probability.shape == (6, len(episodes.all_class_names))
    torch.testing.assert_close(probability.sum(dim=1), torch.ones(6))
    assert ((probability > 0).sum(dim=1) <= 3).all()
    assert len(query.name) == 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: FewShotModule(Conv4(), rule=PrototypeRule(), inner_loop=MAML()),
            "rule=PrototypeRule and inner_loop=MAML both answer",
        ),
        (
            lambda: module(loss=CrossEntropy()),
            "loss=CrossEntropy is of a head, which is not given; set head=LinearHead",
        ),
        (lambda: module(MAML(ways=3), LinearHead), "inner_loop=MAML has a head for ways=3, which episodes train"),
    ],
)
def test_refuses_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (lambda: module(MAML(ways=5)), {}, "inner_loop=MAML has a head for ways=5, but data.ways=3"),
        (lambda: module(MAML(ways=3)), {"train_ways": 4}, "has a head for ways=3, but data.train_ways=4"),
        (
            lambda: module(FineTuning()),
            {},
            "inner_loop=FineTuning passes no gradient to the backbone; set head=LinearHead",
        ),
        (lambda: module(Centred()), {}, "rule=Centred looks at embeddings of base classes, which move"),
        (lambda: module(MAML(), norm="batch"), {}, "those of this backbone have none yet; take Conv4 with norm=group"),
        (
            lambda: module(head=LinearHead),
            {},
            "head=LinearHead learns from images, and the data gives episodes; set data.train_on=images",
        ),
        (
            lambda: module(),
            {"train_on": "images"},
            "data.train_on=images gives images, which a head learns; set head=LinearHead",
        ),
        (lambda: module(edits=[FreezeBackbone()]), {}, "no parameter is trainable"),
        (
            lambda: FinetuneModule(Conv4(), 4, image_size=32),
            {},
            "data=EpisodeData gives episodes, and a FinetuneModule takes images",
        ),
    ],
)
def test_refuses_a_training(trainer, make, options, message):
    with pytest.raises(ValueError, match=message):
        trainer(max_epochs=1).fit(make(), data(**options))


def test_refuses_images_where_episodes_are_asked(trainer):
    with pytest.raises(
        ValueError, match=r"data=FakeData gives images, and a FewShotModule is asked episodes; put it into EpisodeData"
    ):
        trainer().test(module(), FakeData(image_size=32, num_workers=0))


def test_refuses_a_rule_without_a_gradient(trainer):
    class Deaf(PrototypeRule):
        def forward(self, support, target, query, classes=None):
            return super().forward(support, target, query).detach()

    with pytest.raises(ValueError, match="rule=Deaf passes no gradient to the backbone; set head=LinearHead"):
        trainer(max_epochs=1).fit(module(Deaf()), data())


def test_writes_which_new_class_each_image_is(trainer):
    for name, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0)), ("white", (255, 255, 255))):
        Path("examples", name).mkdir(parents=True)
        Image.new("RGB", (32, 32), colour).save(f"examples/{name}/1.png")
    Path("photos").mkdir()
    for name, colour in (("a", (250, 10, 5)), ("b", (5, 3, 240)), ("c", (245, 250, 250))):
        Image.new("RGB", (32, 32), colour).save(f"photos/{name}.png")
    episodes = data(support_path="examples", predict_path="photos")
    trainer(callbacks=[PredictionWriter("found.csv")]).predict(module(norm="batch"), episodes)
    rows = list(csv.DictReader(Path("found.csv").read_text().splitlines()))
    assert [(Path(row["path"]).stem, row["class"]) for row in rows] == [("a", "red"), ("b", "blue"), ("c", "white")]
    assert all(float(row["probability"]) > float(row["probability_2"]) for row in rows)


def test_asks_other_data_than_it_was_trained_on(trainer):
    run = trainer(max_epochs=1, enable_checkpointing=True)
    first = data()
    run.fit(module(num_classes=first.num_classes, class_names=first.class_names), first)
    path = run.checkpoint_callback.best_model_path
    main(["test", f"--ckpt_path={path}", "--data.data.num_classes=24", "--data.ways=4", "--data.data.num_workers=0"])


class Named(PrototypeRule):
    """Is told what the classes are called."""

    needs_names = True

    def prepare(self, base, class_names):
        self.told = len(base), list(class_names)


def test_a_rule_is_told_the_names(trainer):
    made, episodes = module(Named()), data()
    trainer().test(made, episodes)
    assert made.rule.told == (0, episodes.all_class_names)


def test_rates_that_follow_the_batch_count_images_and_a_global_batch_is_refused(trainer):
    assert data(batch_size=4, train_ways=3, train_shots=2, train_queries=5).images_a_batch == 4 * 3 * 7
    assert data(train_ways=(2, 3)).images_a_batch is None
    assert data(train_on="images").images_a_batch == 32
    scaled = Optim(partial(Adam, lr=0.256), schedule=None, scaling="linear")
    run = trainer(max_epochs=1, limit_val_batches=0)
    run.fit(module(optim=scaled), data(batch_size=2))
    assert run.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.256 * 2 * 3 * 3 / 256)
    with pytest.raises(ValueError, match="GlobalBatch counts images, and batches of episodes have other sizes"):
        trainer(max_epochs=1, callbacks=[GlobalBatch(64)]).fit(module(), data())
