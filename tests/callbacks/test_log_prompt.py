from pathlib import Path

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from PIL import Image
from torch import nn

from lightning_transfer import FinetuneModule, TimmBackbone, VisualPromptModule
from lightning_transfer.callbacks import LogPrompt
from lightning_transfer.data import FakeData
from lightning_transfer.mappings import FirstMapping
from lightning_transfer.models import SourceModel
from lightning_transfer.prompts import PaddingPrompt, RandomPatchPrompt
from lightning_transfer.reports.prompts import draw_mapping, mapping_matrix

NAMES = {"prompt", "prompted", "mapping"}


def module(prompt):
    return VisualPromptModule(SourceModel("test_resnet", pretrained=False), prompt, 4, FirstMapping(), image_size=32)


def data():
    return FakeData(image_size=32, num_workers=0)


def written():
    return {path.stem for path in Path().glob("*.png")}


@pytest.mark.parametrize(("prompt", "expected"), [(PaddingPrompt(4), NAMES), (RandomPatchPrompt(8), NAMES)])
def test_draws_at_the_end_without_a_logger(trainer, prompt, expected):
    trainer(max_epochs=1, callbacks=[LogPrompt()]).fit(module(prompt), data())
    assert written() == expected
    for name in expected:
        with Image.open(f"{name}.png") as picture:
            assert min(picture.size) > 200
    assert not list(Path().glob(".*.partial"))


def test_draws_what_training_images_show_where_nothing_is_validated(trainer):
    trainer(max_epochs=1, callbacks=[LogPrompt(num_images=2)], limit_val_batches=0).fit(
        module(PaddingPrompt(4)), data()
    )
    assert written() == NAMES


def test_tells_the_loggers_that_take_pictures(trainer):
    told = []

    class Board(TensorBoardLogger):
        experiment = property(lambda self: self)

        def __init__(self):
            pass

        def add_image(self, key, pixels, step):
            told.append((key, pixels.dtype, pixels.shape[0], step))

        name = version = root_dir = save_dir = log_dir = "board"

        def log_metrics(self, *_, **__):
            pass

        log_hyperparams = log_graph = save = finalize = after_save_checkpoint = log_metrics

    class Wandb(WandbLogger):
        def __init__(self):
            pass

        def log_image(self, key, images):
            told.append((key, images))

        name = version = save_dir = "wandb"

        def log_metrics(self, *_, **__):
            pass

        log_hyperparams = save = finalize = after_save_checkpoint = log_metrics

    callback = LogPrompt(every_n_epochs=2)
    trainer(max_epochs=3, callbacks=[callback], logger=[Board(), Wandb()]).fit(module(PaddingPrompt(4)), data())
    board, wandb = (told[i::2] for i in (0, 1))
    assert [entry[0] for entry in board] == ["prompt/prompt", "prompt/prompted", "prompt/mapping"] * 2
    assert {entry[1:3] for entry in board} == {(torch.uint8, 3)}
    assert board[0][3] < board[-1][3]
    assert [entry[0] for entry in wandb] == [entry[0] for entry in board]
    assert all(Path(path).is_file() for _, paths in wandb for path in paths)


def test_the_matrix_of_a_linear_mapping_is_its_weight():
    layer = nn.Linear(7, 3)
    torch.testing.assert_close(mapping_matrix(layer, 7), layer.weight.detach())
    first = FirstMapping()
    first.build(7, 3, None, None)
    assert torch.equal(mapping_matrix(first, 7), torch.eye(3, 7))


def test_draws_many_targets_with_long_names():
    draw_mapping(
        torch.randn(50, 300),
        ["a target of a long name"] * 50,
        ["source, of many words, one by one"] * 300,
        Path("m.png"),
    )
    draw_mapping(torch.zeros(2, 3), None, None, Path("n.png"))
    assert written() == {"m", "n"}


def test_refuses(trainer):
    with pytest.raises(ValueError, match="a FinetuneModule has no prompt of pixels, leave LogPrompt out"):
        trainer(max_epochs=1, callbacks=[LogPrompt()]).fit(
            FinetuneModule(TimmBackbone("test_resnet", pretrained=False), 4), data()
        )
    with pytest.raises(ValueError, match="every_n_epochs=0 of LogPrompt"):
        LogPrompt(every_n_epochs=0)
