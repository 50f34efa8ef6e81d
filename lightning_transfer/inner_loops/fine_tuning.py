"""Fine-tuning of the whole network within an episode."""

from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize

from lightning_transfer.contracts import InnerLoop
from lightning_transfer.inner_loops.start import way_means


class FineTuning(InnerLoop):
    """Fine-tunes a copy of the backbone, with a head that begins as the ways' mean directions, on the support.

    The norms keep the statistics that they came with, nothing is dropped, and weights that are frozen stay so. There is nothing to be trained
    beforehand but a backbone.

    Args:
        rate: of Adam, > 0.
        epochs: steps, each on the whole episode, ≥ 1.

    Shape:
        support (S, C, H, W), target (S,), query (Q, C, H, W) → logits (Q, K)

    Raises:
        ValueError: for values out of range.

    Reference:
        Dhillon et al., "A Baseline for Few-Shot Image Classification", ICLR 2020, section 3.1 (support-based initialization).

    Deviation:
        The head is on the embedding, not on the base classes' logits, which not every backbone has.
    """

    asks = False  # whether the steps see the queries too, behind the support

    def __init__(self, rate: float = 5e-5, epochs: int = 25) -> None:
        super().__init__()
        if rate <= 0:
            raise ValueError(f"rate={rate} of {type(self).__name__} must be positive; 0.00005 is the paper's")
        if epochs < 1:
            raise ValueError(f"epochs={epochs} of {type(self).__name__} must be at least 1; 25 are the paper's")
        self.rate, self.epochs = rate, epochs

    def forward(self, backbone: nn.Module, support: Tensor, target: Tensor, query: Tensor) -> Tensor:
        tuned = deepcopy(backbone).eval()
        image = torch.cat([support, query])
        with torch.no_grad():
            directions = normalize(tuned(support).embedding, dim=-1)
            weight = normalize(way_means(directions, target), dim=-1).requires_grad_()
        bias = weight.new_zeros(len(weight)).requires_grad_()
        trained = [weight, bias, *(p for p in tuned.parameters() if p.requires_grad)]
        optimizer = torch.optim.Adam(trained, lr=self.rate)
        with torch.enable_grad():
            for _ in range(self.epochs):
                seen = image if self.asks else support
                loss = self.loss(linear(tuned(seen).embedding, weight, bias), target)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch's own
                optimizer.step()
        with torch.no_grad():
            return linear(tuned(query).embedding, weight, bias)

    def loss(self, logits: Tensor, target: Tensor) -> Tensor:
        """What a step goes down.

        Args:
            logits: (S, K), of the support alone.
            target: (S,).
        """
        return cross_entropy(logits, target)
