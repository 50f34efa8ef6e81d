from functools import partial
from pathlib import Path

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import ModelCheckpoint
from torch.optim import SGD
from torch.utils.data import DataLoader

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.callbacks import EMA
from lightning_transfer.contracts import ImageBatch
from lightning_transfer.data import FakeData
from lightning_transfer.edits import FreezeBackbone
from lightning_transfer.penalties import L2SP


def finetune(**options):
    torch.manual_seed(0)
    optim = Optim(partial(SGD, lr=0.1, momentum=0.9), schedule=None)
    return FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4, optim, **options)


def batches(number=3):
    generator = torch.Generator().manual_seed(1)
    made = [ImageBatch(torch.rand(8, 3, 32, 32, generator=generator), torch.arange(8) % 4) for _ in range(number)]
    return DataLoader(made, batch_size=None)


def copy(module):
    return {name: tensor.clone() for name, tensor in module.state_dict().items()}


class Record(Callback):
    """Weights after each step, and those that validation measures."""

    def __init__(self):
        self.steps, self.validated = [], []

    def on_train_batch_end(self, trainer, module, *_):
        self.steps.append(copy(module))

    def on_validation_batch_start(self, trainer, module, *_):
        self.validated.append(copy(module))


def by_hand(steps, decay):
    average = dict(steps[0])
    for n, weights in enumerate(steps[1:], start=1):
        kept = min(decay, (1 + n) / (10 + n))
        for name, tensor in weights.items():
            average[name] = kept * average[name] + (1 - kept) * tensor if tensor.is_floating_point() else tensor
    return average


@pytest.mark.parametrize("decay", [0.2, 0.999])
def test_validates_saves_and_ends_with_the_average(trainer, decay):
    module, record = finetune(), Record()
    saved = ModelCheckpoint(dirpath=".", filename="x")
    run = trainer(max_epochs=2, callbacks=[EMA(decay), record, saved], enable_checkpointing=True)
    run.fit(module, batches(), batches(1))
    assert len(record.validated) == 3  # the first before training: the start, as it is
    for weights, steps in zip(record.validated[1:], (record.steps[:3], record.steps), strict=True):
        torch.testing.assert_close(weights, by_hand(steps, decay))
    assert not torch.equal(record.validated[-1]["model.head.weight"], record.steps[-1]["model.head.weight"])
    loaded = FinetuneModule.load_from_checkpoint("x.ckpt")
    for weights in (copy(loaded), copy(module)):
        torch.testing.assert_close(weights, record.validated[-1], rtol=0, atol=0)
    current = torch.load("x.ckpt", weights_only=True)["current_model_state"]
    torch.testing.assert_close(current, record.steps[-1], rtol=0, atol=0)


def test_before_the_first_step_there_is_no_average_to_validate(trainer):
    module, record = finetune(class_weights="balanced"), Record()  # weights that are set after the copy was made
    trainer(max_epochs=1, callbacks=[EMA(0.5), record]).fit(module, FakeData(image_size=32, num_workers=0))
    torch.testing.assert_close(record.validated[0]["loss.class_weight"], module.loss.class_weight)
    assert (module.loss.class_weight != 1).any()


def test_steps_count_not_batches(trainer):
    record = Record()
    run = trainer(max_epochs=1, accumulate_grad_batches=2, callbacks=[EMA(0.5), record])
    run.fit(finetune(), batches(6), batches(1))
    torch.testing.assert_close(record.validated[-1], by_hand(record.steps[1::2], 0.5))


def test_resuming_equals_going_on(trainer):
    whole, resumed = finetune(), finetune()
    last = ModelCheckpoint(dirpath="whole", filename="{epoch}", save_top_k=-1)
    run = trainer(max_epochs=2, callbacks=[EMA(0.5), last], enable_checkpointing=True)
    run.fit(whole, batches(), batches(1))
    run = trainer(max_epochs=2, callbacks=[EMA(0.5)])
    run.fit(resumed, batches(), batches(1), ckpt_path="whole/epoch=0.ckpt", weights_only=True)
    torch.testing.assert_close(copy(resumed), copy(whole), rtol=0, atol=0)


def test_constants_stay_as_they_are(trainer):
    module = finetune(edits=[FreezeBackbone()], penalties=[L2SP()])
    module.penalties[0].register_buffer("constant", torch.randn(1000))
    before = copy(module)
    trainer(max_epochs=2, callbacks=[EMA(0.9)]).fit(module, batches(8))
    for name, tensor in copy(module).items():
        assert torch.equal(tensor, before[name]) == ("head" not in name), name


def test_another_module_is_measured_with_its_own_weights(trainer):
    ema, other = EMA(0.9), finetune()
    run = trainer(max_epochs=1, callbacks=[ema])
    run.fit(finetune(), batches())
    before, record = copy(other), Record()
    trainer(callbacks=[ema, record]).validate(other, batches(1), verbose=False)
    torch.testing.assert_close(record.validated[0], before, rtol=0, atol=0)


def test_a_second_training_starts_afresh(trainer):
    ema, record = EMA(0.5), Record()
    for callbacks in ([ema], [ema, record]):
        trainer(max_epochs=1, callbacks=callbacks).fit(finetune(), batches(), batches(1))
    torch.testing.assert_close(record.validated[-1], by_hand(record.steps, 0.5))


@pytest.mark.parametrize("way", ["--config=ema", "--trainer.callbacks+=EMA"])
def test_works_from_the_command_line(way):
    main([
        "fit", "--model=FinetuneModule", "--model.backbone=TimmBackbone", "--model.backbone.name=test_resnet",
        "--model.backbone.pretrained=false", "--data=FakeData", "--data.image_size=32", "--data.num_workers=0",
        "--config=smoke", way,
    ])  # fmt: skip
    (path,) = Path("runs").rglob("last.ckpt")
    assert "current_model_state" in torch.load(path, weights_only=True)
    config = f"--config={path.parent}/config.yaml"
    main(["test", config, f"--ckpt_path={path}", "--trainer.default_root_dir=tested"])
    main(["fit", config, f"--ckpt_path={path}", "--trainer.max_epochs=2", "--trainer.default_root_dir=again"])
    assert Path("again/metrics.csv").is_file()


@pytest.mark.parametrize("decay", [-0.1, 1.0])
def test_refuses_decays_outside(decay):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
        EMA(decay)
