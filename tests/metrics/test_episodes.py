import numpy as np
import pytest
import torch

from lightning_transfer.metrics import EpisodeAccuracy, EpisodeInterval, episode_metrics


def answers(episodes, queries=20, ways=5):
    target = torch.randint(ways, (episodes, queries))
    return torch.randn(episodes, queries, ways), target


def slow(batches):
    """Accuracy of each episode, counted one by one."""
    return [
        np.mean([int(row.argmax()) == int(way) for row, way in zip(logits[e], target[e], strict=True)])
        for logits, target in batches
        for e in range(len(target))
    ]


def test_equals_a_loop_over_episodes_of_several_shapes():
    batches = [answers(3), answers(5, queries=8), answers(1, ways=12)]
    metrics = episode_metrics()
    for batch in batches:
        metrics.update(*batch)
    each = slow(batches)
    found = metrics.compute()
    assert found["accuracy"].item() == pytest.approx(np.mean(each), abs=1e-6)
    assert found["accuracy_ci95"].item() == pytest.approx(1.96 * np.std(each, ddof=1) / 9**0.5, abs=1e-6)


def test_both_share_one_list():
    metrics = episode_metrics()
    metrics.update(*answers(4))
    assert len(metrics.compute_groups) == 1


def test_is_exact_where_processes_had_unlike_numbers():
    batches = [answers(3), answers(1), answers(2)]
    together = EpisodeInterval()
    for batch in batches:
        together.update(*batch)
    one, other = EpisodeInterval(), EpisodeInterval()
    one.update(*batches[0])
    one.update(*batches[1])
    other.update(*batches[2])
    gathered = EpisodeInterval()
    gathered.update(*batches[0])
    gathered.accuracy = torch.cat([*one.accuracy, *other.accuracy])  # as torchmetrics leaves it after a gather
    assert gathered._reductions["accuracy"](one.accuracy + other.accuracy).equal(gathered.accuracy)
    torch.testing.assert_close(gathered.compute(), together.compute())


def test_the_interval_covers_what_it_says():
    torch.manual_seed(0)
    covered = 0
    for _ in range(300):
        right = torch.rand(100, 20) < 0.7
        logits = torch.stack([right.float(), 1 - right.float()], dim=-1)
        metric, half = EpisodeAccuracy(), EpisodeInterval()
        for found in (metric, half):
            found.update(logits, torch.zeros(100, 20, dtype=torch.long))
        covered += abs(metric.compute() - 0.7) < half.compute()
    assert 270 < covered < 297


def test_of_one_episode_nothing_is_said():
    half = EpisodeInterval()
    half.update(*answers(1))
    assert half.compute().isnan()
