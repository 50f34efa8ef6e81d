import re
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, Trainer, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from torch import nn
from torch.optim import SGD, AdamW
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, Optim, TimmBackbone, TransferModule
from lightning_transfer.__main__ import main
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import FakeData
from lightning_transfer.edits import FreezeBackbone
from lightning_transfer.heads import MLPHead
from lightning_transfer.mixing import MixupOrCutMix
from lightning_transfer.optim import ParamGroups

# of five steps on noise with momentum-free SGD: a change here is a change of initialisation, schedule, groups or loss
RECORDED = [1.386294, 1.425491, 1.347529, 1.384480, 1.414410]


def backbone(name="test_resnet"):
    return TimmBackbone(name, pretrained=False)


def fitted(trainer, tmp_path, **options):
    module = FinetuneModule(backbone(), num_classes=4, **options)
    run = trainer(max_epochs=1)
    run.fit(module, FakeData(image_size=32))
    run.save_checkpoint(tmp_path / "x.ckpt")
    return module.eval(), tmp_path / "x.ckpt"


def test_overfits_one_batch(trainer):
    batch = ImageBatch(torch.rand(8, 3, 32, 32), torch.arange(8) % 4)
    module = FinetuneModule(backbone(), 4, Optim(partial(SGD, lr=0.1, momentum=0.9), schedule=None))
    trainer(max_steps=60).fit(module, DataLoader([batch], batch_size=None))
    assert module.train().step(batch).loss < 0.05


def test_comes_back_from_its_checkpoint_alone(trainer, tmp_path):
    options = {"head": partial(MLPHead, hidden=6), "edits": [FreezeBackbone()], "class_names": list("abcd")}
    module, path = fitted(trainer, tmp_path, **options)
    image = torch.rand(3, 3, 32, 32)
    for cls in (FinetuneModule, TransferModule):
        again = cls.load_from_checkpoint(path).eval()
        assert torch.equal(again(image).logits, module(image).logits)
        assert again.class_names == list("abcd")
        assert not any(p.requires_grad for p in again.model.backbone.parameters())


def test_checkpoint_is_plain_data_and_wants_no_pretrained_weights_again(trainer, tmp_path, monkeypatch):
    _, path = fitted(trainer, tmp_path)
    checkpoint = torch.load(path, weights_only=True)
    assert checkpoint["hyper_parameters"]["backbone"]["init_args"]["name"] == "test_resnet"
    checkpoint["hyper_parameters"]["backbone"]["init_args"]["pretrained"] = True
    torch.save(checkpoint, path)
    monkeypatch.setattr(
        "lightning_transfer.backbones.timm.load_weights", lambda *_: pytest.fail("asked for weights again")
    )
    FinetuneModule.load_from_checkpoint(path)


class Own(nn.Module):
    num_features = 5

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 5)

    def forward(self, image):
        return self.layer(image.mean((2, 3)))


def test_says_which_part_to_pass_again(trainer, tmp_path):
    run = trainer(max_epochs=1)
    module = FinetuneModule(Own(), num_classes=4)
    run.fit(module, FakeData(image_size=32))
    run.save_checkpoint(tmp_path / "x.ckpt")
    with pytest.raises(ValueError, match=r"backbone=.*Own.*load_from_checkpoint\(path, backbone="):
        FinetuneModule.load_from_checkpoint(tmp_path / "x.ckpt")
    again = FinetuneModule.load_from_checkpoint(tmp_path / "x.ckpt", backbone=Own())
    assert torch.equal(again.model.head.weight, module.model.head.weight)


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        (ImageBatch(torch.rand(2, 3, 32, 32) * 255, torch.tensor([0, 1])), r"images must be floats in \[0, 1\]"),
        (ImageBatch(torch.rand(2, 3, 32, 32), torch.tensor([0, 7])), "target 7, but the model num_classes=4"),
        (ImageBatch(torch.rand(2, 3, 32, 32), torch.zeros(2, 6)), "6 classes, but the model num_classes=4"),
    ],
)
def test_bad_batches_get_a_sentence(trainer, batch, message):
    with pytest.raises(ValueError, match=message):
        trainer(max_steps=1).fit(FinetuneModule(backbone(), 4), DataLoader([batch], batch_size=None))


def test_an_image_size_that_the_backbone_refuses_gets_a_sentence(trainer):
    batch = ImageBatch(torch.rand(2, 3, 65, 65), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="refuses images of 65x65 pixels.*image_size"):
        trainer(max_steps=1).fit(FinetuneModule(backbone("test_vit"), 4), DataLoader([batch], batch_size=None))


def test_says_and_logs_how_much_trains(trainer, tmp_path, capsys):
    module = FinetuneModule(backbone(), 4, edits=[FreezeBackbone()], image_size=32)
    logger = CSVLogger(tmp_path, name="", version="")
    trainer(max_steps=1, logger=logger, enable_model_summary=True).fit(module, FakeData(image_size=32))
    total, head = sum(p.numel() for p in module.parameters()), 4 * module.model.backbone.num_features + 4
    said = " ".join(capsys.readouterr().out.split())
    assert f"{head:,} of {total:,} parameters ({100 * head / total:.2f}%) are trained" in said
    assert re.search(rf"head/no_decay │ 4 │ 0\.003 │ 0 │ yes .*frozen │ {total - head:,} │ │ │ no", said)
    logged = (tmp_path / "hparams.yaml").read_text()
    assert f"trained_parameters: {head}\n" in logged
    assert f"\nparameters: {total}\n" in logged


def test_balanced_weights_come_from_the_training_labels(trainer):
    module = FinetuneModule(backbone(), 4, class_weights="balanced")
    data = FakeData(image_size=32)
    trainer(max_steps=1).fit(module, data)
    counts = data.class_counts
    torch.testing.assert_close(module.loss.class_weight, counts.sum() / (4 * counts))
    named = FinetuneModule(backbone(), 2, class_weights={"b": 3.0}, class_names=["a", "b"])
    assert named.loss.class_weight.tolist() == [1.0, 3.0]
    with pytest.raises(ValueError, match=r"class_weights names \['c'\]"):
        FinetuneModule(backbone(), 2, class_weights={"c": 3.0}, class_names=["a", "b"])


def test_metrics_are_those_of_the_predictions(trainer):
    module, data = FinetuneModule(backbone(), 4), FakeData(image_size=32)
    run = trainer(max_epochs=1)
    run.fit(module, data)
    (result,) = run.test(module, data, verbose=False)
    outputs = run.predict(module, data)
    right = torch.cat([(probability.argmax(1) == batch.target) for probability, batch in outputs]).float().mean()
    assert result["test/accuracy"] == pytest.approx(right.item())
    assert {"test/loss", "test/accuracy_macro", "test/f1", "test/ece"} <= set(result)


def test_channels_last_changes_nothing_but_speed():
    plain = FinetuneModule(backbone(), 4, channels_last=False).eval()
    other = FinetuneModule(backbone(), 4).eval()
    other.load_state_dict(plain.state_dict())
    other.setup("test")
    image = torch.rand(2, 3, 32, 32)
    torch.testing.assert_close(other(image).logits, plain(image).logits)


def test_trains_by_the_recorded_losses(trainer):
    losses = []

    class Record(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            losses.append(outputs["loss"].item())

    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    batches = [ImageBatch(torch.rand(8, 3, 32, 32, generator=generator), torch.arange(8) % 4) for _ in range(5)]
    optim = Optim(partial(SGD, lr=0.05), groups=ParamGroups(head_multiplier=2))
    module = FinetuneModule(backbone(), 4, optim)
    trainer(max_epochs=1, callbacks=[Record()]).fit(module, DataLoader(batches, batch_size=None))
    assert losses == pytest.approx(RECORDED, rel=1e-4)


def test_accumulated_gradients_equal_those_of_one_batch_and_do_not_stay(trainer):
    class Watch(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_idx):
            held.append(any(p.grad is not None for p in module.parameters()))

    image, target, weights, held = torch.rand(8, 3, 32, 32), torch.arange(8) % 4, [], []
    for parts in (1, 2):
        torch.manual_seed(0)
        module = FinetuneModule(backbone("test_convnext"), 4, Optim(partial(SGD, lr=0.1), schedule=None))
        batches = [ImageBatch(i, t) for i, t in zip(image.chunk(parts), target.chunk(parts), strict=True)] * 2
        run = trainer(max_epochs=1, accumulate_grad_batches=parts, callbacks=[Watch()])
        run.fit(module, DataLoader(batches, batch_size=None))
        weights.append(module.model.backbone.model.state_dict())
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, rtol=1e-4, atol=1e-6, msg=name)
    assert held == [False, False, False, True, False, True]  # beside a forward pass only where they are being summed


@pytest.mark.filterwarnings("ignore:The dirpath has changed")
@pytest.mark.parametrize(("workers", "mixing"), [(0, MixupOrCutMix()), (2, None)])
def test_resumed_equals_uninterrupted(trainer, halt_after, tmp_path, monkeypatch, workers, mixing):
    """Bit for bit: weights, optimiser and schedule, with shuffling, augmentation, mixing and dropout, in new processes of workers."""

    def run(name, stop=3, ckpt=None):
        seed_everything(5)
        monkeypatch.setenv("PL_GLOBAL_SEED", "5")
        options = {"drop_rate": 0.3, "drop_path_rate": 0.2}
        module = FinetuneModule(
            TimmBackbone("test_vit", False, options), 4, Optim(partial(AdamW, lr=0.01)), image_size=32, mixing=mixing
        )
        saved = ModelCheckpoint(tmp_path / name, every_n_epochs=1)  # after validation, as the command line does
        run = trainer(max_epochs=3, callbacks=[halt_after(stop), saved], enable_checkpointing=True)
        run.fit(module, FakeData(image_size=32, batch_size=8, num_workers=workers), ckpt_path=ckpt, weights_only=True)
        return saved.best_model_path, torch.load(saved.best_model_path, weights_only=True)

    _, whole = run("whole")
    path, _ = run("part", stop=1)
    _, resumed = run("resumed", ckpt=path)
    assert resumed["global_step"] == whole["global_step"]
    assert resumed["lr_schedulers"] == whole["lr_schedulers"]
    for a, b in (
        (resumed["state_dict"], whole["state_dict"]),
        (resumed["optimizer_states"][0]["state"], whole["optimizer_states"][0]["state"]),
    ):
        torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_compiles_for_training_and_only_the_training_batch(trainer, tmp_path, monkeypatch):
    shapes = []

    def backend(graph, inputs):
        shapes.append(
            {tuple(i.shape) for i in inputs if isinstance(i, torch.Tensor) and i.ndim == 4 and i.shape[1] == 3}
        )
        return graph.forward

    compile_ = nn.Module.compile
    monkeypatch.setattr(nn.Module, "compile", lambda self: compile_(self, backend=backend))
    torch.compiler.reset()
    module = FinetuneModule(backbone(), 4, compile=True)
    batch = ImageBatch(torch.rand(8, 3, 32, 32), torch.arange(8) % 4)
    run = trainer(max_steps=2)
    run.fit(module, DataLoader([batch, batch], batch_size=None))
    assert len(shapes) == 1
    run.save_checkpoint(tmp_path / "x.ckpt")
    assert not any("_orig_mod" in name for name in torch.load(tmp_path / "x.ckpt", weights_only=True)["state_dict"])
    again = FinetuneModule.load_from_checkpoint(tmp_path / "x.ckpt").eval()
    torch.testing.assert_close(again(batch.image).logits, module.eval()(batch.image).logits)


def test_trains_with_a_logger_on_data_of_another_size_than_it_was_told(tmp_path):
    run = Trainer(
        max_steps=1, default_root_dir=tmp_path, accelerator="cpu", enable_progress_bar=False, logger=CSVLogger(tmp_path)
    )
    run.fit(FinetuneModule(backbone(), num_classes=4), FakeData(image_size=32, num_workers=0))
    (path,) = tmp_path.rglob("*.ckpt")
    main(["test", f"--ckpt_path={path}", "--trainer.enable_progress_bar=false"])


def test_default_construction_by_name():
    with pytest.warns(UserWarning, match="RANDOM"):  # there is no network in tests
        module = FinetuneModule(backbone="resnet18", num_classes=10)
    assert module(torch.rand(1, 3, 64, 64)).logits.shape == (1, 10)
