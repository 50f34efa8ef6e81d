"""Weights from which a few steps on the support are enough."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.func import functional_call, grad
from torch.nn.functional import cross_entropy, linear

from lightning_transfer.contracts import InnerLoop
from lightning_transfer.inner_loops.start import way_means

Weights = dict[str, Tensor]
_BACKBONE, _HEAD = "backbone.", "head."


class MAML(InnerLoop):
    """Adapts all weights that are trained by steps of gradient descent on the support; training goes through these steps.

    The head begins where training left it, for as many ways as it was made for; or with `ways=null` as the linear layer that answers by
    prototypes, which training moves by the backbone alone and which serves any number of ways.

    Args:
        rate: of a step, > 0.
        steps: in training, ≥ 1.
        test_steps: in validation, test and prediction, ≥ 1; as many as in training if not given.
        ways: of the learned head; a start from prototypes (Proto-MAML) if not given.
        first_order: whether the gradient takes the steps as given, instead of differentiating through them.

    Shape:
        support (S, C, H, W), target (S,), query (Q, C, H, W) → logits (Q, K)

    Raises:
        ValueError: for values out of range, and episodes of other ways than the learned head's.

    Reference:
        Finn, Abbeel, Levine, "Model-Agnostic Meta-Learning for Fast Adaptation of Deep Networks", ICML 2017, equation 1; the start from
        prototypes: Triantafillou et al., "Meta-Dataset", ICLR 2020, section 3.
    """

    trains = True

    def __init__(
        self,
        rate: float = 0.1,
        steps: int = 5,
        test_steps: int | None = None,
        ways: int | None = None,
        first_order: bool = False,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if rate <= 0:
            raise ValueError(f"rate={rate} of {name} must be positive; 0.01 to 0.5 are common")
        for argument, value, least in (
            ("steps", steps, 1),
            ("test_steps", test_steps, 1),
            ("ways", ways, 2),
        ):
            if value is not None and value < least:
                raise ValueError(f"{argument}={value} of {name} must be at least {least}")
        self.rate, self.steps, self.test_steps = rate, steps, test_steps or steps
        self.ways, self.first_order = ways, first_order
        self.head: nn.Linear | None = None

    def build(self, width: int) -> None:
        if self.ways is not None:
            self.head = nn.Linear(width, self.ways)

    def forward(self, backbone: nn.Module, support: Tensor, target: Tensor, query: Tensor) -> Tensor:
        if self.ways is not None and (ways := int(target.max()) + 1) != self.ways:
            raise ValueError(
                f"{type(self).__name__} has a head for ways={self.ways}, but the episode has {ways}; set inner_loop.ways=null to begin with "
                "prototypes, which do for any number"
            )
        start = self.start(backbone, support, target)
        fixed = {name: weight for name, weight in start.items() if not self.adapts(name)}

        def logits(weights: Weights, image: Tensor) -> Tensor:
            return _answer(backbone, fixed | weights, image)

        moved = {name: weight for name, weight in start.items() if self.adapts(name)}
        adapted = self.adapt(lambda weights: cross_entropy(logits(weights, support), target), moved)
        return logits(adapted, query)

    def adapts(self, name: str) -> bool:  # ANIL leaves the backbone as it is
        """Whether the inner loop moves the weight of this name, which begins with `backbone.` or `head.`."""
        return True

    def start(self, backbone: nn.Module, support: Tensor, target: Tensor) -> Weights:
        """The weights that the steps begin with: the backbone's that are trained, and the head's."""
        weights: Weights = {_BACKBONE + name: p for name, p in backbone.named_parameters() if p.requires_grad}
        if self.head is not None:
            return weights | {_HEAD + name: parameter for name, parameter in self.head.named_parameters()}
        prototypes = way_means(backbone(support).embedding, target)
        # -|q - c|² without |q|², which is the same for all ways
        return weights | {_HEAD + "weight": 2 * prototypes, _HEAD + "bias": -prototypes.square().sum(dim=-1)}

    def adapt(self, loss: Callable[[Weights], Tensor], weights: Weights) -> Weights:
        """Go down a loss from these weights, which stay as they are; a gradient goes through the steps to them in training.

        Args:
            loss: of weights, a scalar.
            weights: by name.
        """
        for _ in range(self.steps if self.training else self.test_steps):
            through = self.training and not self.first_order
            slope = grad(loss)(weights if through else _detached(weights))
            slope = slope if through else _detached(slope)  # of what the loss closes over too
            weights = {name: weight - self.rate * slope[name] for name, weight in weights.items()}
        return weights


class ANIL(MAML):
    """MAML whose steps move the head alone; the backbone learns features that they do with.

    Args:
        rate, steps, test_steps, ways, first_order: as for `MAML`.

    Reference:
        Raghu et al., "Rapid Learning or Feature Reuse? Towards Understanding the Effectiveness of MAML", ICLR 2020.
    """

    def adapts(self, name: str) -> bool:
        return name.startswith(_HEAD)


def _answer(backbone: nn.Module, weights: Weights, image: Tensor) -> Tensor:
    own = {name.removeprefix(_BACKBONE): weight for name, weight in weights.items() if name.startswith(_BACKBONE)}
    embedding = functional_call(backbone, own, (image,)).embedding
    return linear(embedding, weights[_HEAD + "weight"], weights[_HEAD + "bias"])


def _detached(weights: Weights) -> Weights:
    return {name: weight.detach() for name, weight in weights.items()}
