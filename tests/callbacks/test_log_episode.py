from pathlib import Path

import pytest
import torch
from PIL import Image

from lightning_transfer import FewShotModule, FinetuneModule
from lightning_transfer.backbones import Conv4
from lightning_transfer.callbacks import LogEpisode
from lightning_transfer.contracts import Episode, ImageBatch
from lightning_transfer.data import EpisodeData, FakeData
from lightning_transfer.inner_loops import FineTuning
from lightning_transfer.reports.episodes import draw_episode, ways_of


def data(**options):
    inner = FakeData(image_size=32, num_workers=0, num_classes=12, images_per_class=6)
    usual = {"ways": 3, "queries": 2, "episodes": 4, "train_episodes": 2, "val_classes": 0.3, "novel_classes": 0.3}
    return EpisodeData(inner, **usual | options)


@pytest.mark.parametrize("options", [{}, {"rotations": True, "shots": 2}])
def test_draws_after_training_and_in_the_test(trainer, options):
    module, episodes = FewShotModule(Conv4(), image_size=32), data(**options)
    run = trainer(max_epochs=1, callbacks=[LogEpisode()])
    run.fit(module, episodes)
    run.test(module, episodes)
    for name in ("episode_val.png", "episode_test.png"):
        with Image.open(name) as picture:
            assert min(picture.size) > 400
    assert not list(Path().glob(".*.partial"))


def test_draws_the_answers_of_an_inner_loop(trainer):
    module = FewShotModule(Conv4(), inner_loop=FineTuning(epochs=1), image_size=32)
    trainer(callbacks=[LogEpisode(number=3, ways=2)]).test(module, data())
    assert Path("episode_test.png").is_file()


def test_an_episode_is_sorted_by_its_ways():
    support = ImageBatch(torch.empty(0), torch.tensor([[1, 0]]), indices=torch.tensor([[10, 11]]))
    query = ImageBatch(torch.empty(0), torch.tensor([[0, 1, 0]]), indices=torch.tensor([[20, 21, 22]]))
    logits = torch.tensor([[[2.0, 0.0], [1.0, 0.0], [0.0, 3.0]]])
    first, second = ways_of(Episode(support, query, torch.tensor([[2, 0]])), logits, ["a", "b", "c"])
    assert first[:4] == ("c", [11], [20, 22], ["c", "a"])
    assert second[:4] == ("a", [10], [21], ["c"])
    assert first.probability == pytest.approx(
        [1 / (1 + torch.tensor(-2.0).exp().item()), 1 / (1 + torch.tensor(-3.0).exp().item())]
    )


def test_draws_long_names_and_ways_without_queries():
    query = ImageBatch(torch.empty(0), torch.tensor([[0]]), indices=torch.tensor([[1]]))
    support = ImageBatch(torch.empty(0), torch.tensor([[0, 1]]), indices=torch.tensor([[0, 1]]))
    ways = ways_of(
        Episode(support, query, torch.tensor([[0, 1]])), torch.zeros(1, 1, 2), ["a name of many words " * 5, "b"]
    )
    draw_episode(ways, lambda number: torch.full((3, 40, 30), 40 * number, dtype=torch.uint8), Path("x.png"))
    assert Path("x.png").is_file()


def test_refuses(trainer):
    with pytest.raises(ValueError, match="ways=0 of LogEpisode must be at least 1"):
        LogEpisode(ways=0)
    with pytest.raises(ValueError, match="a FinetuneModule is asked none, leave LogEpisode out"):
        trainer(max_epochs=1, callbacks=[LogEpisode()]).fit(
            FinetuneModule(Conv4(), 4, image_size=32), FakeData(image_size=32, num_workers=0)
        )
