import copy
from functools import partial

import pytest
import torch
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.optim import SGD

from lightning_transfer import FinetuneModule, Optim, TimmBackbone
from lightning_transfer.__main__ import main
from lightning_transfer.callbacks import EMA, FrozenCache, Phase, Phases
from lightning_transfer.callbacks.frozen_prefix import FrozenPrefix
from lightning_transfer.contracts import ModelEdit
from lightning_transfer.data import EvalTransform, FakeData, TrainTransform
from lightning_transfer.edits import BitFit, FreezeBackbone, TrainNorms
from lightning_transfer.optim import ParamGroups


class FreezeStages(ModelEdit):
    def __init__(self, below):
        self.below = below

    def __call__(self, model):
        numbers = model.backbone.stages()
        for name, parameter in model.backbone.named_parameters():
            parameter.requires_grad_(numbers[name] >= self.below)


def module(backbone="test_resnet", edits=(), **options):
    torch.manual_seed(0)
    backbone = TimmBackbone(backbone, pretrained=False) if isinstance(backbone, str) else backbone
    optim = Optim(partial(SGD, lr=0.05, momentum=0.9), groups=ParamGroups(by_stage=isinstance(backbone, TimmBackbone)))
    return FinetuneModule(backbone, 4, optim, edits=list(edits), **options)


def data(**options):
    options = {"train_transform": EvalTransform, "images_per_class": 12, "test_fraction": 0, **options}
    return FakeData(image_size=32, batch_size=6, num_workers=0, **options)


class Count(Callback):
    """How often the insides of the frozen layers run in each epoch: a child is called by its parent's real forward alone."""

    def __init__(self, name):
        self.name, self.runs, self.needed = name, [], []

    def on_train_epoch_start(self, trainer, pl_module):
        self.runs.append(0)
        part = pl_module.model.get_submodule(self.name)

        def count(module, arguments, output):
            self.runs[-1] += module.training or trainer.training
            self.needed.append(output.requires_grad)

        self.hook = part.register_forward_hook(count)

    def on_train_epoch_end(self, trainer, pl_module):
        self.hook.remove()


class NothingLeft(Callback):
    """Whoever copies or saves the model between the steps finds it as it is."""

    def on_train_batch_end(self, trainer, pl_module, *_):
        for part in pl_module.model.modules():
            assert "forward" not in part.__dict__
            hooks = [*part._forward_hooks.values(), *part._forward_pre_hooks.values()]
            assert not [hook for hook in hooks if "frozen" in hook.__module__ and "test" not in hook.__module__]

    on_validation_batch_start = on_train_batch_end


def trained(trainer, make, *callbacks, source=data, epochs=4, **options):
    tuned = make()
    seed_everything(3, verbose=False)
    trainer(max_epochs=epochs, callbacks=list(callbacks), num_sanity_val_steps=0, **options).fit(tuned, source())
    return {name: tensor.clone() for name, tensor in tuned.state_dict().items()}


def assert_equal(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


INSIDE = {
    "test_resnet": "backbone.model.layer2.0.conv1",
    "test_vit": "backbone.model.blocks.1.mlp.fc1",
    "test_efficientnet": "backbone.model.blocks.1.0.bn1",
}


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("name", list(INSIDE))
def test_weights_are_those_of_a_training_without_it_and_frozen_layers_run_once_an_image(trainer, name, channels_last):
    def make():
        return module(name, [FreezeStages(3)], channels_last=channels_last)

    count = Count(INSIDE[name])
    cached = trained(trainer, make, NothingLeft(), FrozenCache(), count)
    assert_equal(cached, trained(trainer, make))
    # 7 batches, beside the trial that finds them and the module's own check of the image size
    assert count.runs[0] == 7 + 2
    # one of 43 images is left out in each epoch: a batch that has it is computed, and the first that is known is compared
    assert 1 <= count.runs[1] <= 2
    assert max(count.runs[2:]) <= 1
    assert not any(count.needed)  # frozen lower layers are not part of any graph: no backward pass


def test_all_of_a_frozen_backbone_is_one_module(trainer):
    count = Count("backbone.model.layer4.0.conv1")
    cached = trained(trainer, lambda: module(edits=[FreezeBackbone()]), FrozenCache(), count)
    assert_equal(cached, trained(trainer, lambda: module(edits=[FreezeBackbone()])))
    assert sum(count.runs[1:]) <= 4


@pytest.mark.parametrize("first", ["cache", "phases"])
def test_follows_phases_whichever_callback_comes_first(trainer, first):
    def phases():
        return Phases(
            [Phase("backbone", "freeze"), Phase("stage -1", start=2), Phase("stage -2", start=4), Phase("all", start=6)]
        )

    count = Count("backbone.model.layer2.0.conv1")
    callbacks = [FrozenCache(), phases()] if first == "cache" else [phases(), FrozenCache()]
    cached = trained(trainer, module, *callbacks, count, epochs=8)
    assert_equal(cached, trained(trainer, module, phases(), epochs=8))
    assert count.runs[0:5:2] == [7 + 2, 7 + 1, 7 + 1]  # each phase fills it anew
    assert max(count.runs[1], count.runs[3], count.runs[5]) <= 4
    assert count.runs[6:] == [7 + 1, 7]  # all train: it has found nothing to keep


def test_lp_ft(trainer):
    cached = trained(trainer, module, FrozenCache(), Phases("lp_ft", length=2))
    assert_equal(cached, trained(trainer, module, Phases("lp_ft", length=2)))


def test_half_precision_and_accumulated_gradients(trainer):
    def make():
        return module(edits=[FreezeStages(3)])

    options = {"precision": "bf16-mixed", "accumulate_grad_batches": 2}
    cached = trained(trainer, make, FrozenCache(), EMA(0.5), **options)
    assert_equal(cached, trained(trainer, make, EMA(0.5), **options))


def test_resumed_equals_uninterrupted(trainer, tmp_path):
    def make():
        return module(edits=[FreezeStages(3)])

    saved = ModelCheckpoint(tmp_path, filename="{epoch}", save_top_k=-1)
    whole = trained(trainer, make, FrozenCache(), saved, enable_checkpointing=True)
    resumed = make()
    seed_everything(3, verbose=False)
    run = trainer(max_epochs=4, callbacks=[FrozenCache()], num_sanity_val_steps=0)
    run.fit(resumed, data(), ckpt_path=tmp_path / "epoch=1.ckpt", weights_only=True)
    assert_equal(whole, resumed.state_dict())


class Skipping(nn.Module):
    """Two frozen blocks, and one that trains and reads both: by concatenation, or by a gate that is still zero."""

    num_features = 4

    def __init__(self, gated=False):
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Conv2d(4, 4, 1))
        self.second = nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU())
        self.third = nn.Conv2d(4 if gated else 8, 4, 3)
        self.gate = nn.Parameter(torch.zeros(())) if gated else None
        self.first.requires_grad_(False)
        self.second.requires_grad_(False)

    def forward(self, image):
        low = self.first(image)
        high = self.second(low)
        joined = torch.cat([low, high], 1) if self.gate is None else high + self.gate * low
        return self.third(joined).mean((2, 3))


@pytest.mark.parametrize("gated", [False, True])
def test_a_skip_around_the_freeze_point_moves_the_cache_below_it(trainer, gated):
    def make():
        torch.manual_seed(1)
        return module(Skipping(gated))

    model = make().model
    assert FrozenPrefix(model, torch.rand(6, 3, 32, 32)).modules == [model.backbone.module.first]
    low, high = Count("backbone.module.first.0"), Count("backbone.module.second.0")
    cached = trained(trainer, make, FrozenCache(), low, high)
    assert_equal(cached, trained(trainer, make))
    assert sum(low.runs[1:]) <= 4
    assert high.runs[1:] == [7, 7, 7]


def test_looking_for_frozen_layers_leaves_the_model_as_it_was():
    model = module("test_resnet", [FreezeStages(2)]).model
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    prefix = FrozenPrefix(model, torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0)))
    assert prefix.modules[-1] is model.backbone.model.layer1
    assert_equal(before, model.state_dict())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for p in model.parameters())
    copy.deepcopy(model)


class Chain(nn.Module):
    def __init__(self, *between):
        super().__init__()
        self.low = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Conv2d(3, 3, 1)).requires_grad_(False)
        self.between = nn.ModuleList(between)
        self.high = nn.Sequential(nn.Conv2d(3, 3, 1)).requires_grad_(False)
        self.last = nn.Conv2d(3, 3, 1)

    def forward(self, image):
        image = self.low(image)
        for module in self.between:
            image = module(image)
        return self.last(self.high(image))


RELU = nn.ReLU()


@pytest.mark.parametrize(
    ("between", "number"),
    [
        ([nn.ReLU()], 3),
        ([nn.Dropout(0.5).eval()], 3),
        ([nn.Dropout(0.5)], 1),
        ([nn.BatchNorm2d(3, affine=False)], 1),
        ([RELU, RELU], 1),
    ],
)
def test_ends_before_layers_that_draw_keep_statistics_or_are_called_twice(between, number):
    model = Chain(*between)
    assert len(FrozenPrefix(model, torch.rand(4, 3, 8, 8)).modules) == number


@pytest.mark.parametrize(
    ("edits", "options", "message"),
    [
        ([], {}, "no two frozen layers below the first one that trains"),
        ([BitFit()], {}, "no two frozen layers"),
        ([TrainNorms()], {}, "no two frozen layers"),
        ([FreezeStages(3)], {"train_transform": TrainTransform}, "TrainTransform draws at random"),
        (
            [FreezeStages(3)],
            {"train_transform": partial(TrainTransform, scale=(1, 1), ratio=(1, 1))},
            "draws at random",
        ),
    ],
)
def test_refuses_where_nothing_can_be_kept(trainer, edits, options, message):
    tuned = module(edits=edits)
    before = copy.deepcopy(tuned.state_dict())
    with pytest.raises(ValueError, match=message):
        trainer(max_epochs=2, callbacks=[FrozenCache()], num_sanity_val_steps=0).fit(tuned, data(**options))
    assert_equal(before, tuned.state_dict())
    NothingLeft().on_train_batch_end(None, tuned)


def test_a_transform_that_draws_once_for_good_is_no_obstacle(trainer):
    def source():
        return data(train_transform=TrainTransform, augmentations=1)

    def make():
        return module(edits=[FreezeStages(3)])

    counted = Count(INSIDE["test_resnet"])
    cached = trained(trainer, make, FrozenCache(), counted, source=source)
    assert counted.runs[-1] == 0
    assert_equal(cached, trained(trainer, make, source=source))


def test_refuses_more_memory_than_allowed(trainer):
    with pytest.raises(ValueError, match=r"would take 0.00\d+ GB, but max_gigabytes=0.0001"):
        trained(trainer, lambda: module(edits=[FreezeStages(3)]), FrozenCache(max_gigabytes=1e-4))
    with pytest.raises(ValueError, match="must be positive"):
        FrozenCache(0)


def test_refuses_a_compiled_model(trainer):
    with pytest.raises(ValueError, match="set model.compile=false"):
        trained(trainer, lambda: module(edits=[FreezeBackbone()], compile=True), FrozenCache())


class Mixed(FakeData):
    """Mixes neighbours, as mixup does, where the callback cannot see it beforehand."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        return batch._replace(image=(batch.image + batch.image.roll(1, 0)) / 2) if self.trainer.training else batch


def test_mixed_images_end_it_with_a_warning_and_right_weights(trainer):
    def source():
        return Mixed(image_size=32, batch_size=6, num_workers=0, images_per_class=12, train_transform=EvalTransform)

    def make():
        return module(edits=[FreezeStages(3)])

    with pytest.warns(
        UserWarning, match="is another one than in an earlier epoch; is it transformed at random, or mixed?"
    ):
        cached = trained(trainer, make, FrozenCache(), source=source)
    assert_equal(cached, trained(trainer, make, source=source))


def test_frozen_weights_that_move_after_all_are_noticed(trainer):
    class Move(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            with torch.no_grad():
                pl_module.model.backbone.model.conv1[0].weight.mul_(1.5)

    def make():
        return module(edits=[FreezeStages(3)])

    with pytest.warns(UserWarning, match="output for an image is another one"):
        cached = trained(trainer, make, FrozenCache(), Move())
    assert_equal(cached, trained(trainer, make, Move()))


def test_an_exception_leaves_the_model_as_it_is(trainer):
    class Break(Callback):
        def on_before_backward(self, trainer, pl_module, loss):
            if trainer.current_epoch == 2:
                assert "forward" in pl_module.model.backbone.model.layer2.__dict__
                raise KeyError("broken")

    tuned = module(edits=[FreezeStages(3)])
    with pytest.raises(KeyError):
        trainer(max_epochs=4, callbacks=[FrozenCache(), Break()], num_sanity_val_steps=0).fit(tuned, data())
    NothingLeft().on_train_batch_end(None, tuned)


@pytest.mark.parametrize(
    "way", [["--config=frozen_cache"], ["--trainer.callbacks+=FrozenCache", "--data.train_transform=EvalTransform"]]
)
def test_works_from_the_command_line(caplog, way):
    short = ["--config=smoke", "--trainer.max_epochs=3", "--data.image_size=32", "--data.num_workers=0"]
    main(["fit", "--config=finetune/lp_ft", *way, *short])
    assert "frozen layers up to backbone run once an image" in caplog.text
