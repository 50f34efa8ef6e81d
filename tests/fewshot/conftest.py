import pytest
import torch


class Task:
    """Episodes of clusters: support (E, S, D), target (E, S), query (E, Q, D) and its target."""

    def __init__(self, episodes=3, ways=4, shots=3, queries=5, width=16, noise=1.0, seed=0):
        draw = torch.Generator().manual_seed(seed)
        centre = torch.randn(episodes, ways, width, generator=draw)
        self.target = torch.arange(ways).repeat(shots).expand(episodes, -1)
        self.query_target = torch.arange(ways).repeat(queries).expand(episodes, -1)
        self.support, self.query = (
            torch.stack([c[t] for c, t in zip(centre, target, strict=True)])
            + noise * torch.randn(episodes, target.shape[1], width, generator=draw)
            for target in (self.target, self.query_target)
        )

    def parts(self):
        return self.support, self.target, self.query

    def each(self):
        return zip(*self.parts(), strict=True)


@pytest.fixture
def task():
    return Task
