"""A picture of an episode and its answers, after training and in the test."""

from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer

from lightning_transfer.callbacks.end_picture import EndPicture
from lightning_transfer.callbacks.pictures import log_picture
from lightning_transfer.data.episodes import EpisodeData
from lightning_transfer.modules.few_shot import FewShotModule
from lightning_transfer.reports.episodes import draw_episode, ways_of


class LogEpisode(EndPicture):
    """Draws an episode with its answers: `episode_val.png` after training, `episode_test.png` in the test.

    They lie in the run's folder, and go to W&B and TensorBoard where one of these logs.

    Args:
        number: of the episode, ≥ 0.
        ways: rows of the picture at most, the episode's first, ≥ 1.
        examples: of a way that are drawn, at most, ≥ 1.
        queries: likewise.

    Raises:
        ValueError: for numbers out of range; before anything runs for a module that is asked no episodes.
    """

    def __init__(self, number: int = 0, ways: int = 10, examples: int = 5, queries: int = 8) -> None:
        for name, value, least in (
            ("number", number, 0),
            ("ways", ways, 1),
            ("examples", examples, 1),
            ("queries", queries, 1),
        ):
            if value < least:
                raise ValueError(f"{name}={value} of LogEpisode must be at least {least}")
        self.number, self.ways, self.examples, self.queries = number, ways, examples, queries

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if not isinstance(pl_module, FewShotModule):
            raise ValueError(
                f"LogEpisode draws how episodes are answered; a {type(pl_module).__name__} is asked none, leave LogEpisode out"
            )

    def has(self, data: Any, split: str) -> bool:
        return isinstance(data, EpisodeData) and split in data.episode_sets

    def draw(self, trainer: Trainer, pl_module: Any, data: Any, split: str) -> None:
        episodes = data.episode_sets[split]
        episodes.images.embed(None)  # those of the last validation may be of earlier weights
        episode = pl_module.transfer_batch_to_device(episodes[self.number], pl_module.device, 0)
        logits = pl_module.answer(episode).cpu()
        path = Path(trainer.default_root_dir) / f"episode_{split}.png"
        ways = ways_of(episode, logits, data.all_class_names)[: self.ways]
        draw_episode(ways, episodes.images.source.image, path, self.examples, self.queries)
        log_picture(trainer, "episode", path)
