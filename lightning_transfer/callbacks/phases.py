"""Training in phases: which parameters learn, and how fast, from which epoch or step on."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lightning.pytorch import Callback, Trainer
from lightning.pytorch.strategies import DDPStrategy, SingleDeviceStrategy
from lightning.pytorch.utilities import rank_zero_info
from torch import nn

from lightning_transfer.optim.groups import layer_numbers, matching
from lightning_transfer.parts import Part

State = dict[str, float]  # factor on the rate by parameter; 0 where it is frozen


@dataclass(frozen=True)
class Phase:
    """What changes at one point of the training; everything else stays as the phases before left it.

    Args:
        parameters: `all`, `backbone`, `head`; `stage 0` (at the images) and so on, `stage -1` being the last of the backbone; or a
            regular expression that is searched in parameter names such as `backbone.model.layer4.0.conv1.weight`.
        action: whether they train or are frozen from here on.
        start: first epoch, or optimiser step, of the phase.
        rate: factor on the learning rates of these parameters, > 0, while they train.
    """

    parameters: str
    action: Literal["train", "freeze"] = "train"
    start: int = 0
    rate: float = 1.0


class Phases(Part, Callback):
    """Freezes, trains and slows down parameters by phases.

    All parameters are in the optimiser from the first step on, and what holds at an epoch is computed from the epoch alone, so that a
    resumed training continues as if it had never stopped. Normalisation layers that are frozen evaluate as well
    (`keep_frozen_in_eval`). With several processes the gradients' exchange is set up anew at each phase, over what trains then.

    Args:
        phases: a list of phases, later ones winning over earlier ones; or `gradual`: the head alone, then one more stage of the
            backbone with each phase, from the last to the first; or `lp_ft`: the head alone, then everything.
        unit: what `start` and `length` count.
        length: epochs or steps of each phase of `gradual` (1 if not given), or of the probe of `lp_ft` (half of the training).

    Raises:
        ValueError: for phases that name no parameter or leave none to train, rates that cut a group of the optimiser in two, and
            strategies other than a single device and DDP.

    Reference:
        Howard, Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018, section 3.3 (gradual unfreezing);
        Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022 (LP-FT).
    """

    def __init__(
        self,
        phases: Literal["gradual", "lp_ft"] | list[Phase],
        unit: Literal["epoch", "step"] = "epoch",
        length: int | None = None,
    ) -> None:
        if length is not None and length < 1:
            raise ValueError(f"phases.length={length} must be at least 1 {unit}")
        if length is not None and not isinstance(phases, str):
            raise ValueError(
                f"phases.length={length} is for gradual and lp_ft; a list of phases says where each starts"
            )
        for phase in () if isinstance(phases, str) else phases:
            if phase.start < 0 or phase.rate <= 0:
                raise ValueError(f"{phase}: start must not be negative, and rate must be positive")
        self.given = phases
        self.unit = unit
        self.length = length

    def on_fit_start(self, trainer: Trainer, pl_module: Any) -> None:
        if not isinstance(trainer.strategy, SingleDeviceStrategy | DDPStrategy):
            name = type(trainer.strategy).__name__
            raise ValueError(
                f"Phases changes what trains, which trainer.strategy={name} cannot follow; use ddp or one device"
            )
        model = pl_module.model
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        phases = sorted(self._presets(trainer, model), key=lambda phase: phase.start)
        self.starts = sorted({phase.start for phase in phases} | {0})
        self.states = self._fold(phases, {phase: self._select(phase, model) for phase in phases})
        self.factors = [_group_factors(state, self.parameters, trainer.optimizers[0]) for state in self.states]
        self.current: int | None = None
        self.plain_rates: list[float] = []
        self.hook = trainer.optimizers[0].register_step_post_hook(lambda optimizer, *_: self._restore_rates(optimizer))

    def on_train_batch_start(self, trainer: Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        now = trainer.current_epoch if self.unit == "epoch" else trainer.global_step
        index = sum(start <= now for start in self.starts) - 1
        if index != self.current:
            self._enter(index, trainer, pl_module)
        optimizer = trainer.optimizers[0]
        self._restore_rates(optimizer)
        self.plain_rates = [group["lr"] for group in optimizer.param_groups]
        for group, factor in zip(optimizer.param_groups, self.factors[index], strict=True):
            group["lr"] *= factor

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        self._restore_rates(trainer.optimizers[0])  # where gradients are accumulated no step has done it

    def on_fit_end(self, trainer: Trainer, pl_module: Any) -> None:
        self.hook.remove()
        for parameter in self.parameters.values():
            parameter.requires_grad_(True)

    def _restore_rates(self, optimizer: Any) -> None:
        """Hand the rates back as the schedule set them: it and the checkpoint know nothing of factors."""
        for group, rate in zip(optimizer.param_groups, self.plain_rates, strict=False):
            group["lr"] = rate
        self.plain_rates = []

    def _enter(self, index: int, trainer: Trainer, module: Any) -> None:
        state = self.states[index]
        for name, parameter in self.parameters.items():
            parameter.requires_grad_(state[name] > 0)
            if not parameter.requires_grad:
                parameter.grad = None
        module.train()
        if isinstance(
            trainer.strategy, DDPStrategy
        ):  # it exchanges the gradients that it found when it wrapped the module
            trainer.strategy.model = module
            trainer.strategy.configure_ddp()
        self.current = index
        trained = sum(p.numel() for p in self.parameters.values() if p.requires_grad)
        rank_zero_info(
            f"phase {index + 1} of {len(self.states)}, {self.unit} {self.starts[index]}: {trained:,} parameters train"
        )

    def _presets(self, trainer: Trainer, model: nn.Module) -> Sequence[Phase]:
        if not isinstance(self.given, str):
            return self.given
        probe = Phase("backbone", "freeze")
        if self.given == "lp_ft":
            return [probe, Phase("all", start=self.length or self._half(trainer))]
        last = max(layer_numbers(model, coarse=True).values())
        length = self.length or 1
        return [probe, *(Phase(f"stage {last - i}", start=length * (i + 1)) for i in range(last + 1))]

    def _half(self, trainer: Trainer) -> int:
        total = trainer.estimated_stepping_batches if self.unit == "step" else trainer.max_epochs
        if total is None or total in (-1, float("inf")):
            raise ValueError(
                f"phases=lp_ft takes half of the training, which has no end; set phases.length to a number of {self.unit}s"
            )
        return max(1, int(total) // 2)

    def _select(self, phase: Phase, model: nn.Module) -> list[str]:
        if phase.parameters in ("all", "head", "backbone"):
            prefix = "" if phase.parameters == "all" else f"{phase.parameters}."
            return [name for name in self.parameters if name.startswith(prefix)]
        if match := re.fullmatch(r"stage (-?\d+)", phase.parameters):
            stages = layer_numbers(model, coarse=True)
            count = max(stages.values()) + 1
            if not -count <= int(match[1]) < count:
                raise ValueError(
                    f"phases: {phase.parameters!r} does not exist; the backbone has stages 0 to {count - 1}"
                )
            return [name for name in self.parameters if stages.get(name) == int(match[1]) % count]
        return matching(self.parameters, phase.parameters, "phases")

    def _fold(self, phases: Sequence[Phase], selected: dict[Phase, list[str]]) -> list[State]:
        """What holds from each start on."""
        state, states = dict.fromkeys(self.parameters, 1.0), []
        for start in self.starts:
            for phase in phases:
                if phase.start == start:
                    state |= dict.fromkeys(selected[phase], phase.rate if phase.action == "train" else 0.0)
            if not any(state.values()):
                raise ValueError(f"phases leave nothing to train from {self.unit} {start} on")
            states.append(dict(state))
        return states


def _group_factors(state: State, parameters: dict[str, nn.Parameter], optimizer: Any) -> list[float]:
    """One factor for each group of the optimiser."""
    of = {id(parameter): state[name] for name, parameter in parameters.items()}
    factors = []
    for group in optimizer.param_groups:
        found = {of[id(parameter)] for parameter in group["params"]} - {0.0}
        if len(found) > 1:
            raise ValueError(
                f"phases give parts of the optimiser's group {group['name']!r} the rates {sorted(found)}; "
                "set optim.groups.by_stage=true, so that each stage has a group"
            )
        factors.append(found.pop() if found else 0.0)
    return factors
