from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, cross_entropy
from torch.optim import SGD

from lightning_transfer.callbacks import EMA, RemapLabels
from lightning_transfer.contracts import Features, Prediction, StepOutput
from lightning_transfer.data import FakeData
from lightning_transfer.mappings import (
    BayesianMapping,
    FirstMapping,
    FrequencyMapping,
    IterativeMapping,
    LinearMapping,
)
from lightning_transfer.mappings.greedy import greedy
from lightning_transfer.metrics import usual_metrics
from lightning_transfer.modules import TransferModule
from lightning_transfer.optim import Optim

SOURCES, CLASSES = 12, 4


class Prompted(nn.Module):
    """A frozen network of twelve classes that tells patterns apart, behind a prompt that is added to its input."""

    def __init__(self, mapping):
        super().__init__()
        self.prompt = nn.Parameter(torch.zeros(3, 4, 4))
        self.source = nn.Linear(48, SOURCES).requires_grad_(False)
        generator = torch.Generator().manual_seed(0)
        with torch.no_grad():
            self.source.weight.copy_(torch.randn(SOURCES, 48, generator=generator))
            self.source.bias.copy_(-0.4 * self.source.weight.sum(1))
        self.mapping = mapping
        mapping.build(SOURCES, CLASSES, None, None)
        self.uses = True

    def answers(self, image):
        return self.source((adaptive_avg_pool2d(image, 4) + self.prompt).flatten(1))

    def forward(self, image):
        logits = self.answers(image)
        return Prediction(self.mapping(logits) if self.uses else logits[:, :CLASSES], Features(logits))


class Tiny(TransferModule):
    def __init__(self, mapping, rate=0.3, task="classification"):
        metrics = usual_metrics(CLASSES, "classification")
        super().__init__(CLASSES, None, None, task, Optim(partial(SGD, lr=rate), schedule=None), metrics, False, False)
        self.model = Prompted(mapping)

    def step(self, batch):
        prediction = self(batch.image)
        if self.training:
            self.model.mapping.observe(prediction.features.embedding.detach(), batch.target)
        return StepOutput(cross_entropy(prediction.logits, batch.target), {}, prediction.logits, batch.target)


class Watch(Callback):
    """What the network answered in each epoch's steps, and the mapping at validation and at the end of each epoch."""

    def __init__(self):
        self.first, self.epochs, self.validated, self.ended, self.images = None, [], [], [], []

    def on_train_epoch_start(self, trainer, module):
        if self.first is None:
            self.first = state(module)
        self.epochs.append(torch.zeros(SOURCES, CLASSES))
        self.images.append(0)

    def on_train_batch_start(self, trainer, module, batch, batch_idx):
        with torch.no_grad():
            for source, k in zip(module.model.answers(batch.image).argmax(1), batch.target, strict=True):
                self.epochs[-1][source, k] += 1
        self.images[-1] += len(batch.image)

    def on_validation_start(self, trainer, module):
        if not trainer.sanity_checking:
            self.validated.append(state(module))

    def on_train_epoch_end(self, trainer, module):
        self.ended.append(state(module))


def state(module):
    mapping = module.model.mapping
    return (mapping.weight if isinstance(mapping, BayesianMapping) else mapping.sources).clone()


def data(**options):
    return FakeData(**{"image_size": 32, "batch_size": 8, "num_workers": 0, "images_per_class": 20} | options)


def counted(module, batches):
    counts = torch.zeros(SOURCES, CLASSES)
    for batch in batches:
        with torch.no_grad():
            for source, k in zip(module.model.answers(batch.image).argmax(1), batch.target, strict=True):
                counts[source, k] += 1
    return counts


def test_the_estimate_is_that_of_the_unprompted_network_on_the_first_epochs_images(trainer):
    watch, module = Watch(), Tiny(FrequencyMapping())
    trainer(max_epochs=2, callbacks=[RemapLabels(), watch], num_sanity_val_steps=0).fit(module, data())
    # with the prompt at its start: the epoch's images as its first steps saw them
    again, fresh = data(), Tiny(FrequencyMapping())
    again.setup("fit")
    counts = counted(fresh, again.train_dataloader())
    assert counts.sum() == watch.images[0]
    expected = greedy(counts)
    assert expected.flatten().tolist() != list(range(CLASSES))
    assert torch.equal(watch.first, expected)
    assert all(torch.equal(later, expected) for later in watch.ended)


@pytest.mark.parametrize("make", [IterativeMapping, partial(BayesianMapping, smoothing=0)])
def test_validation_measures_what_the_epochs_own_steps_led_to(trainer, make):
    watch, module = Watch(), Tiny(make(), rate=3.0)
    trainer(max_epochs=4, callbacks=[watch, RemapLabels()]).fit(module, data())
    assert len(watch.validated) == 4
    fitted = greedy if make is IterativeMapping else lambda counts: _weights(counts)
    for counts, validated, ended in zip(watch.epochs, watch.validated, watch.ended, strict=True):
        torch.testing.assert_close(validated, fitted(counts))
        assert torch.equal(ended, validated)
    assert not torch.equal(watch.first, watch.ended[-1])  # the prompt has changed what the network sees


def _weights(counts):
    share = torch.where(counts.sum(1, keepdim=True) > 0, counts / counts.sum(1, keepdim=True), 0)
    return share / share.sum(0)


def test_only_the_estimate_costs_a_pass(trainer):
    batches = 7
    for mapping, passes in ((FirstMapping(), 0), (FrequencyMapping(), 1), (IterativeMapping(), 1)):
        module = Tiny(mapping)
        calls = []
        module.model.mapping.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        run = trainer(max_epochs=2, callbacks=[RemapLabels()], limit_val_batches=0, limit_train_batches=batches)
        run.fit(module, data())
        assert len(calls) == (2 + passes) * batches + 1  # the first image is tried before


def test_a_linear_mapping_begins_with_the_estimate(trainer):
    module = Tiny(LinearMapping(FrequencyMapping()), rate=0.0)
    trainer(max_epochs=1, callbacks=[RemapLabels()]).fit(module, data())
    weight = module.model.mapping.linear.weight
    assert weight.sum(1).tolist() == [1, 1, 1, 1]
    assert torch.equal(weight.argmax(1, keepdim=True), module.model.mapping.start.sources)


def test_workers_that_persist_bring_the_first_epoch_whole(trainer):
    watch = Watch()
    run = trainer(max_epochs=2, callbacks=[RemapLabels(), watch])
    run.fit(Tiny(IterativeMapping()), data(num_workers=1))
    alone = Watch()
    trainer(max_epochs=2, callbacks=[RemapLabels(), alone]).fit(Tiny(IterativeMapping()), data())
    assert watch.images == alone.images
    assert torch.equal(watch.first, alone.first)
    assert torch.equal(watch.ended[-1], alone.ended[-1])


def test_the_pass_draws_nothing_that_training_would_draw(trainer):
    class Next(Callback):
        def on_train_start(self, trainer, module):
            self.number = torch.rand(1, generator=torch.default_generator)

    drawn = []
    for callbacks in ([], [RemapLabels()]):
        torch.manual_seed(3)
        following = Next()
        trainer(max_epochs=1, callbacks=[*callbacks, following]).fit(Tiny(IterativeMapping()), data())
        drawn.append(following.number)
    assert torch.equal(*drawn)


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize("mapping", [FrequencyMapping, IterativeMapping, partial(BayesianMapping, top_k=3)])
def test_resumed_equals_uninterrupted(trainer, halt_after, tmp_path, monkeypatch, mapping):
    def run(name, epochs, ckpt=None):
        monkeypatch.setenv("PL_GLOBAL_SEED", str(seed_everything(5)))
        watch = Watch()
        saved = ModelCheckpoint(tmp_path / name, every_n_epochs=1)
        fit = trainer(
            max_epochs=4, callbacks=[RemapLabels(), watch, halt_after(epochs), saved], enable_checkpointing=True
        )
        fit.fit(Tiny(mapping(), rate=3.0), data(), ckpt_path=ckpt, weights_only=True)
        return saved.best_model_path, torch.load(saved.best_model_path, weights_only=True)["state_dict"], watch

    _, whole, watch = run("whole", 4)
    path, part, halted = run("part", 2)
    _, resumed, _ = run("resumed", 4, path)
    name = "model.mapping." + ("weight" if "model.mapping.weight" in whole else "sources")
    assert torch.equal(part[name], watch.validated[1])
    assert torch.equal(part[name], halted.validated[-1])
    assert resumed.keys() == whole.keys()
    for key, value in whole.items():
        assert torch.equal(resumed[key], value), key


def test_a_mapping_that_is_there_is_kept(trainer):
    module = Tiny(FrequencyMapping())
    trainer(max_epochs=1, callbacks=[RemapLabels()]).fit(module, data())
    other = Tiny(FrequencyMapping())
    other.load_state_dict(module.state_dict())
    with torch.no_grad():
        other.model.prompt.normal_(std=10)  # by which it would be another
    trainer(max_epochs=1, callbacks=[RemapLabels()]).fit(other, data())
    assert torch.equal(state(other), state(module))


def test_an_average_of_the_weights_has_the_last_mapping(trainer):
    watch, module = Watch(), Tiny(IterativeMapping(), rate=3.0)
    run = trainer(max_epochs=3, callbacks=[EMA(0.9), RemapLabels(), watch])
    run.fit(module, data())
    assert any(not torch.equal(a, b) for a, b in zip(watch.ended, watch.ended[1:], strict=False))
    assert torch.equal(state(module), watch.ended[-1])
    assert all(
        torch.equal(greedy(counts), sources) for counts, sources in zip(watch.epochs, watch.validated, strict=True)
    )


def test_a_module_may_bring_it_along(trainer):
    class Whole(Tiny):
        def configure_callbacks(self):
            return [RemapLabels()]

    watch, module = Watch(), Whole(IterativeMapping())
    trainer(max_epochs=2, callbacks=[EMA(0.9), watch]).fit(module, data())
    for counts, validated in zip(watch.epochs, watch.validated, strict=True):
        assert torch.equal(greedy(counts), validated)


def test_a_model_without_a_mapping_gets_a_sentence(trainer):
    module = Tiny(FirstMapping())
    module.model.mapping = nn.Identity()
    with pytest.raises(ValueError, match="found no label mapping in Prompted; leave it out"):
        trainer(max_epochs=1, callbacks=[RemapLabels()]).fit(module, data())


def test_a_mapping_that_is_not_used_gets_a_sentence(trainer):
    module = Tiny(FrequencyMapping())
    module.model.uses = False
    with pytest.raises(ValueError, match="has a mapping that it does not use"):
        trainer(max_epochs=1, callbacks=[RemapLabels()]).fit(module, data())


def test_more_classes_in_the_data_than_in_the_model_get_a_sentence(trainer):
    with pytest.raises(ValueError, match="the data has a target 5, but the model num_classes=4"):
        trainer(max_epochs=1, callbacks=[RemapLabels()]).fit(
            Tiny(FrequencyMapping()), data(num_classes=6, batch_size=60)
        )


def test_several_labels_get_a_sentence_before_training(trainer):
    with pytest.raises(ValueError, match="mapping=BayesianMapping counts one class an image, but .* task=multi_label"):
        trainer(max_epochs=1, callbacks=[RemapLabels()]).fit(Tiny(BayesianMapping(), task="multi_label"), data())
