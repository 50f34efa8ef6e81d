from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, Optim, TimmBackbone, TransferModule, VisualPromptModule, load_adapter
from lightning_transfer.__main__ import main
from lightning_transfer.callbacks import EMA, AdapterCheckpoint
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import FakeData, WholeTransform
from lightning_transfer.data.datasets import collate
from lightning_transfer.mappings import (
    FirstMapping,
    IterativeMapping,
    LinearMapping,
    RandomMapping,
)
from lightning_transfer.mappings.greedy import greedy
from lightning_transfer.models import ModuleSource, SourceModel
from lightning_transfer.models.prompted import SOURCE_LOGITS
from lightning_transfer.optim import SPSA, NormalisedSGD
from lightning_transfer.prompts import ExtendPrompt, FramePrompt, PaddingPrompt, RandomPatchPrompt, ShrinkPrompt

IMAGE = torch.rand(3, 3, 32, 32)
BATCH = ImageBatch(torch.rand(8, 3, 32, 32), torch.arange(8) % 4)


class Counting(FirstMapping):
    """Remembers what it observed, and how often."""

    def build(self, num_source, num_classes, source_names, class_names):
        super().build(num_source, num_classes, source_names, class_names)
        self.register_buffer("counts", torch.zeros(num_source, num_classes))
        self.seen = []

    def observe(self, logits, target):
        assert not logits.requires_grad
        self.seen.append(logits.clone())
        sources, targets = nn.functional.one_hot(logits.argmax(1), len(self.counts)), nn.functional.one_hot(target, 4)
        self.counts += sources.T.float() @ targets.float()

    def refit(self):
        pass


def source(name="test_resnet", classes=20):
    """A network whose classifier tells images apart: timm's starts at nearly nothing."""
    made = SourceModel(name, pretrained=False, options={"num_classes": classes})
    nn.init.normal_(made.model.get_classifier().weight, std=0.5)
    return made


def module(prompt="frame", mapping=None, known=None, **options):
    prompt = FramePrompt() if prompt == "frame" else prompt
    return VisualPromptModule(known or source(), prompt, 4, mapping or FirstMapping(), image_size=32, **options)


def said(made, image):
    return made(image).features.layers[SOURCE_LOGITS]


def data(**options):
    return FakeData(image_size=32, num_workers=0, **options)


@pytest.fixture(autouse=True)
def _trust(monkeypatch):
    monkeypatch.setenv("LIGHTNING_TRANSFER_TRUST", "tests")  # the mappings above


def test_overfits_one_batch(trainer):
    made = module(optim=Optim(partial(Adam, lr=0.05), schedule=None))
    trainer(max_steps=200).fit(made, DataLoader([BATCH], batch_size=None))
    output = made.train().step(BATCH)
    assert torch.equal(output.logits.argmax(1), BATCH.target)
    assert output.loss < 0.4  # one prompt for all eight


@pytest.mark.parametrize(
    ("prompt", "mapping"),
    [
        (PaddingPrompt(4), FirstMapping()),
        (ExtendPrompt(4), LinearMapping()),
        (None, LinearMapping()),
        (None, Counting()),
    ],
)
def test_nothing_of_the_source_moves_or_gets_a_gradient(trainer, prompt, mapping):
    made = module(prompt, mapping)
    made.model.source.requires_grad_(True)  # whoever thaws it
    before = {name: value.clone() for name, value in made.model.source.state_dict().items()}
    assert any("running_mean" in name for name in before)
    found = []

    class Watch(Callback):
        def on_before_optimizer_step(self, trainer, module, optimizer):
            found.append([p.grad for p in module.model.source.parameters()])

    trainer(max_epochs=2, callbacks=[Watch()]).fit(made, data())
    assert found
    assert all(grad is None for grads in found for grad in grads)
    after = made.model.source.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    if prompt is not None:
        assert made.model.prompt.values.any()


def test_the_mapping_observes_what_training_saw_and_nothing_else(trainer):
    made = module(mapping=Counting())
    run = trainer(max_epochs=2)
    run.fit(made, data(batch_size=23))
    assert made.model.mapping.counts.sum() == 2 * len(run.datamodule.train_set)
    calls = len(made.model.mapping.seen)
    run.test(made, data(), verbose=False)
    assert len(made.model.mapping.seen) == calls
    made.train().step(BATCH)
    assert torch.equal(made.model.mapping.seen[-1], said(made, BATCH.image))


@pytest.mark.parametrize("prompt", [None, PaddingPrompt(4)])
def test_a_mapping_that_counts_is_fitted_to_what_the_source_says(trainer, prompt):
    made, images = module(prompt, IterativeMapping()), data(batch_size=23, train_transform=WholeTransform)
    run = trainer(max_epochs=2)
    run.fit(made, images)
    assert made.model.mapping.fitted
    assert not torch.equal(made.model.mapping.sources.flatten(), torch.arange(4))
    if prompt is None:
        batch = collate([images.train_set[i] for i in range(46)])
        counts = torch.zeros(20, 4)
        for source, k in zip(said(made.eval(), batch.image).argmax(1), batch.target, strict=True):
            counts[source, k] += 1
        torch.testing.assert_close(made.model.mapping.sources, greedy(counts))


def test_without_a_prompt_a_mapping_that_counts_is_fitted(trainer):
    made = module(None, Counting())
    run = trainer(max_epochs=1)
    run.fit(made, data(batch_size=23))
    assert made.model.mapping.counts.sum() == len(run.datamodule.train_set)
    run.save_checkpoint("x.ckpt")
    assert not any("nothing" in name for name in torch.load("x.ckpt", weights_only=True)["state_dict"])
    again = TransferModule.load_from_checkpoint("x.ckpt")
    assert torch.equal(again.model.mapping.counts, made.model.mapping.counts)


def test_comes_back_from_its_checkpoint_alone(trainer, monkeypatch):
    prompt = ShrinkPrompt(20, canvas=40, init="normal", space="normalised")
    made = module(prompt, class_names=list("abcd"))
    run = trainer(max_epochs=1)
    run.fit(made, data())
    run.save_checkpoint("x.ckpt")
    monkeypatch.setattr("lightning_transfer.models.source.load_weights", lambda *_: pytest.fail("asked for weights"))
    again = TransferModule.load_from_checkpoint("x.ckpt").eval()
    assert torch.equal(again(IMAGE).logits, made.eval()(IMAGE).logits)
    assert again.class_names == list("abcd")
    assert not any(p.requires_grad for p in again.model.source.parameters())


def finetuned(trainer, path="source.ckpt"):
    fine = FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, class_names=list("abcd"), image_size=32)
    run = trainer(max_epochs=1)
    run.fit(fine, data())
    run.save_checkpoint(path)
    return fine.eval()


def test_a_checkpoint_as_source_is_needed_for_training_alone(trainer):
    fine = finetuned(trainer)
    made = module(PaddingPrompt(4), known="source.ckpt")
    assert torch.equal(made.eval()(IMAGE).logits, fine(IMAGE).logits)
    run = trainer(max_epochs=1)
    run.fit(made, data())
    run.save_checkpoint("x.ckpt")
    Path("source.ckpt").unlink()
    again = TransferModule.load_from_checkpoint("x.ckpt").eval()
    assert torch.equal(again(IMAGE).logits, made.eval()(IMAGE).logits)


def test_a_source_given_in_python_is_given_again(trainer):
    known = ModuleSource(nn.Sequential(nn.Conv2d(3, 4, 8, 8), nn.Tanh(), nn.Flatten(), nn.Linear(64, 4)), 4)
    made = module(known=known)
    run = trainer(max_epochs=1)
    run.fit(made, data())
    run.save_checkpoint("x.ckpt")
    with pytest.raises(ValueError, match=r"source=.*load_from_checkpoint\(path, source="):
        VisualPromptModule.load_from_checkpoint("x.ckpt")
    again = VisualPromptModule.load_from_checkpoint("x.ckpt", source=known).eval()
    assert torch.equal(again(IMAGE).logits, made.eval()(IMAGE).logits)


def filed(trainer, mapping, name="source.safetensors"):
    """A training that leaves an adapter, on weights that lie in a file."""
    weights = source(classes=1000).model.state_dict()
    save_file(weights, name)
    made = module(PaddingPrompt(4), mapping, SourceModel("test_resnet", pretrained=name))
    trainer(max_epochs=1, callbacks=[AdapterCheckpoint("adapter.safetensors")]).fit(made, data())
    return made.eval()


@pytest.mark.parametrize(
    ("mapping", "names"),
    [
        (RandomMapping, {"sources"}),  # drawn before the training, and not moved by it
        (IterativeMapping, {"sources", "fitted"}),
        (LinearMapping, {"linear.weight", "linear.bias"}),
    ],
)
def test_a_file_of_prompt_and_mapping_alone(trainer, mapping, names):
    made = filed(trainer, mapping())
    found = load_file("adapter.safetensors")
    assert found.keys() == {"model.prompt.values", *(f"model.mapping.{name}" for name in names)}
    again = load_adapter("adapter.safetensors").eval()
    assert torch.equal(again(IMAGE).logits, made(IMAGE).logits)
    with safe_open("adapter.safetensors", "pt") as file:
        assert set(file.metadata()) == {"hyper_parameters", "base_sha256"}
    save_file(source(classes=1000).model.state_dict(), "source.safetensors")  # other weights at the same place
    with pytest.raises(ValueError, match=r"another base than name='test_resnet'.*load_adapter\(path, source=\.\.\.\)"):
        load_adapter("adapter.safetensors")


def test_a_ring_of_thirty_pixels_is_a_small_file(trainer):
    made = VisualPromptModule(source(), PaddingPrompt(30), 4, FirstMapping(), image_size=224)
    trainer(max_steps=1, callbacks=[AdapterCheckpoint("adapter.safetensors")], limit_val_batches=0).fit(
        made, FakeData(image_size=224, batch_size=2, num_workers=0)
    )
    assert 69_840 * 4 < Path("adapter.safetensors").stat().st_size < 69_840 * 4 + 8192


@pytest.mark.parametrize(("prompt", "gradient"), [(RandomPatchPrompt(8), None), (PaddingPrompt(2), SPSA(averages=2))])
@pytest.mark.filterwarnings("ignore:The dirpath has changed")
def test_resumed_equals_uninterrupted(trainer, halt_after, tmp_path, monkeypatch, prompt, gradient):
    known = source()

    def run(name, stop=3, ckpt=None):
        seed_everything(5)
        monkeypatch.setenv("PL_GLOBAL_SEED", "5")
        made = module(prompt, LinearMapping(), known, optim=Optim(partial(Adam, lr=0.01)), gradient=gradient)
        saved = ModelCheckpoint(tmp_path / name, every_n_epochs=1)
        run = trainer(max_epochs=3, callbacks=[halt_after(stop), saved], enable_checkpointing=True)
        run.fit(made, data(batch_size=8), ckpt_path=ckpt, weights_only=True)
        return saved.best_model_path, torch.load(saved.best_model_path, weights_only=True)

    _, whole = run("whole")
    path, _ = run("part", stop=1)
    _, resumed = run("resumed", ckpt=path)
    assert resumed["global_step"] == whole["global_step"]
    torch.testing.assert_close(resumed["state_dict"], whole["state_dict"], rtol=0, atol=0)
    assert whole["state_dict"]["model.prompt.values"].any()


def test_asks_a_black_box_twice_an_average(trainer):
    class BlackBox(nn.Module):
        num_classes, calls = 4, 0

        def forward(self, image):
            self.calls += 1
            return torch.from_numpy(
                image.numpy(force=True).mean((2, 3)) @ [[1, 2, 3, 4], [4, 3, 2, 1], [0, 1, 0, 1]]
            ).float()

    box = BlackBox()
    made = module(known=ModuleSource(box), mapping=Counting(), gradient=SPSA(c=0.1, averages=3)).train()
    output = made.step(BATCH)
    assert box.calls == 6
    assert len(made.model.mapping.seen) == 1
    torch.testing.assert_close(made.model.mapping.seen[0], said(made, BATCH.image), atol=1e-2, rtol=1e-2)
    output.loss.backward()
    assert made.model.prompt.values.grad.any()
    trainer(max_epochs=1).fit(made, data())
    made.eval()
    box.calls = 0
    made.step(BATCH)
    assert box.calls == 1


def test_a_black_box_is_learned_by_asking(trainer):
    made = module(
        PaddingPrompt(1),
        known=source(),
        gradient=SPSA(c=0.05, averages=8),
        optim=Optim(partial(NormalisedSGD, lr=0.5), schedule=None),
    )
    first = made.eval().step(BATCH).loss
    trainer(max_steps=40).fit(made, DataLoader([BATCH], batch_size=None))
    assert made.eval().step(BATCH).loss < first - 0.05


def zero_head():
    known = source()
    nn.init.zeros_(known.model.get_classifier().weight)
    return known


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"known": zero_head()}, "the source says the same of all images.*classifier is zero.*take other weights"),
        ({"prompt": FramePrompt(clamp="image"), "start": 9.0}, "clamp=image cuts all that the prompt adds"),
        (
            {"prompt": FramePrompt(clamp="sigmoid"), "start": 200.0},
            "its values are so large that their sigmoid is flat",
        ),
        ({"mapping": "blind"}, "neither the mapping nor the loss depends on what the source says"),
    ],
)
def test_a_prompt_that_cannot_learn_stops_the_run(trainer, options, reason):
    class Blind(FirstMapping):
        def forward(self, logits):
            return super().forward(logits) * 0

    start = options.pop("start", None) if "start" in (options := dict(options)) else None
    if options.get("mapping") == "blind":
        options["mapping"] = Blind()
    made = module(**options)
    if start is not None:
        made.model.prompt.values.data.fill_(start)
    with pytest.raises(ValueError, match=f"its gradient is exactly zero everywhere; {reason}"):
        trainer(max_epochs=1).fit(made, data())


def test_a_fine_tuned_head_that_was_never_trained_is_told(trainer):
    run = trainer(max_steps=1)
    run.strategy.connect(FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4))
    run.save_checkpoint("zero.ckpt")
    with pytest.raises(ValueError, match="classifier is zero"):
        trainer(max_epochs=1).fit(module(known="zero.ckpt"), data())


def test_the_average_of_a_prompt(trainer):
    made = module(optim=Optim(partial(SGD, lr=1.0), schedule=None))
    known = {name: value.clone() for name, value in made.model.source.state_dict().items()}
    trainer(max_epochs=2, callbacks=[EMA(0.5)]).fit(made, data())
    assert all(torch.equal(value, known[name]) for name, value in made.model.source.state_dict().items())


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: VisualPromptModule(source(), FramePrompt(), 4, FirstMapping()), "image_size must be given"),
        (lambda: module(known=nn.Identity()), "source|num_classes"),
        (lambda: VisualPromptModule(source(), None, 21, FirstMapping()), "for num_classes=21 the source has only 20"),
        (lambda: module(None, gradient=SPSA()), "prompt=null and the mapping train nothing"),
        (lambda: module(PaddingPrompt(30)), "width=30 of PaddingPrompt is more than half of image_size=32"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_nothing_to_be_learned_says_what_to_do(trainer):
    with pytest.raises(ValueError, match=r"leave nothing to be learned: `lightning-transfer test` measures them"):
        trainer(max_epochs=1).fit(module(None), data())
    (result,) = trainer().test(module(None), data(), verbose=False)
    assert 0 <= result["test/accuracy"] <= 1


def test_images_of_another_size_are_refused(trainer):
    with pytest.raises(ValueError, match="FramePrompt was made for images of 32x32 pixels.*not 48x48"):
        trainer(max_epochs=1).fit(module(), FakeData(image_size=48, num_workers=0))


ARGUMENTS = [
    "--model=VisualPromptModule", "--model.source=SourceModel", "--model.source.name=test_resnet",
    "--model.source.pretrained=false", "--model.prompt=PaddingPrompt", "--model.prompt.width=4", "--model.mapping=FirstMapping",
    "--data=FakeData", "--data.image_size=32", "--data.num_workers=0", "--config=smoke",
]  # fmt: skip


def test_by_name_on_the_command_line():
    main(["fit", *ARGUMENTS, "--model.gradient=SPSA", "--model.optim.optimizer=NormalisedSGD"])
    (path,) = Path("runs").rglob("best.ckpt")
    main(["test", f"--ckpt_path={path}"])
    main(["predict", f"--ckpt_path={path}"])
    main(["test", *ARGUMENTS, "--model.prompt=null"])  # the rows without a prompt
    main(["fit", *ARGUMENTS, "--model.prompt=null", "--model.mapping=FrequencyMapping"])


def test_a_checkpoint_by_its_path_on_the_command_line(trainer):
    finetuned(trainer)
    given = [a for a in ARGUMENTS if not a.startswith("--model.source")]
    main(["fit", *given, "--model.source=source.ckpt"])
    (path,) = Path("runs").rglob("best.ckpt")
    Path("source.ckpt").unlink()
    main(["test", f"--ckpt_path={path}"])


def test_counting_alone_is_for_one_process(trainer, monkeypatch):
    run = trainer(max_epochs=1)
    monkeypatch.setattr(type(run), "world_size", 2)
    with pytest.raises(ValueError, match=r"without a prompt only Counting learns.*trainer\.devices=1"):
        run.fit(module(None, Counting()), data())
