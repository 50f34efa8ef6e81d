"""Which parameters learn at which rate, with which decay."""

import re
from collections.abc import Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table
from torch import Tensor, nn
from torch.optim import Optimizer

from lightning_transfer.parts import Part


class ParamGroups(Part):
    """Splits trainable parameters by place and by decay; each is in exactly one group.

    The rate of a group is the optimiser's times `lr_factor`: layer decay, head multiplier and named rates multiply. Norms, biases and
    what the architecture itself excludes (position embeddings, class tokens) are spared from weight decay.

    Args:
        head_multiplier: learning rate of the head, and of what losses learn, over that of the rest; a fresh head on a pretrained
            backbone bears 10 and more.
        layer_decay: rate of a layer over that of the layer above it, in (0, 1]; with 0.75 the head has 1, the last layer 0.75, the
            one before 0.5625. 0.65 to 0.9 are common for transformers.
        rates: factor for parameters by a regular expression that is searched in their names, `backbone.model.layer4.0.conv1.weight`
            for example; 0 keeps them still.
        by_stage: whether each stage has groups of its own even where rates are equal, so that a phase can scale its rate.
        decay_norms: whether one-dimensional parameters (norms, biases) are decayed like the others.

    Returns on call:
        groups for an optimiser, each with `name`, `params` and `lr_factor`.

    Raises:
        ValueError: if nothing is trainable, for factors out of range, for an expression that names no parameter, or for two that name
            the same one.

    Reference:
        Clark et al., "ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators", ICLR 2020, appendix B (layer decay);
        Howard, Ruder, "Universal Language Model Fine-tuning for Text Classification", ACL 2018, section 3.2 (discriminative rates).
    """

    def __init__(
        self,
        head_multiplier: float = 1.0,
        layer_decay: float = 1.0,
        rates: dict[str, float] | None = None,
        by_stage: bool = False,
        decay_norms: bool = False,
    ) -> None:
        if head_multiplier <= 0:
            raise ValueError(f"head_multiplier={head_multiplier} must be positive; 1 treats the head like the rest")
        if not 0 < layer_decay <= 1:
            raise ValueError(f"layer_decay={layer_decay} lies in (0, 1]; 1 gives all layers one rate, 0.75 is common")
        if below := {pattern: factor for pattern, factor in (rates or {}).items() if factor < 0}:
            raise ValueError(f"rates={below}: a factor must not be negative")
        self.head_multiplier = head_multiplier
        self.layer_decay = layer_decay
        self.rates = dict(rates or {})
        self.by_stage = by_stage
        self.decay_norms = decay_norms

    def __call__(self, model: nn.Module) -> list[dict[str, Any]]:
        parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not parameters:
            raise ValueError("no parameter is trainable: the edits froze all of the model")
        places, named, spared = self._places(model), self._named_rates(parameters), _spared(model)
        groups: dict[str, dict[str, Any]] = {}
        for name, parameter in parameters.items():
            place, factor = places.get(name, ("backbone", 1.0))
            pattern, rate = named.get(name, ("", 1.0))
            no_decay = name in spared or (parameter.ndim <= 1 and not self.decay_norms)
            label = "/".join(filter(None, (place, pattern, "no_decay" if no_decay else "")))
            group = groups.setdefault(label, {"name": label, "params": [], "lr_factor": factor * rate})
            if no_decay:
                group["weight_decay"] = 0.0
            group["params"].append(parameter)
        return list(groups.values())

    def _places(self, model: nn.Module) -> dict[str, tuple[str, float]]:
        """Where each parameter lies and the factor of that place; counted over all layers, so that frozen ones shift nothing."""
        places: dict[str, tuple[str, float]] = {}
        if self.layer_decay < 1 or self.by_stage:
            if not hasattr(model, "backbone"):
                raise ValueError(
                    "optim.groups: layer_decay and by_stage divide a backbone, and the model trains none; leave them out"
                )
            stages = layer_numbers(model, coarse=self.layer_decay == 1)
            top = max(stages.values()) + 1  # the head's number
            word = "stage" if self.layer_decay == 1 else "layer"
            for name, stage in stages.items():
                places[name] = f"backbone/{word} {stage}", self.layer_decay ** (top - stage)
        for name, _ in getattr(model, "head", nn.Module()).named_parameters():
            places[f"head.{name}"] = "head", self.head_multiplier
        for name, _ in getattr(model, "losses", nn.Module()).named_parameters():  # as new as a head
            places[f"losses.{name}"] = "losses", self.head_multiplier
        for name, _ in model.named_parameters():
            if (part := name.partition(".")[0]) in ("prompt", "mapping", "adapter", "projector", "predictor"):
                places[name] = part, 1.0
            if name.startswith("backbone.prompt."):  # in front of all layers, and new
                places[name] = "prompt", 1.0
        return places

    def _named_rates(self, parameters: Mapping[str, Tensor]) -> dict[str, tuple[str, float]]:
        found: dict[str, tuple[str, float]] = {}
        for pattern, factor in self.rates.items():
            matches = matching(parameters, pattern, "optim.groups.rates")
            if twice := next((name for name in matches if name in found), None):
                raise ValueError(
                    f"optim.groups.rates: {found[twice][0]!r} and {pattern!r} both name {twice}; make them exclude each other"
                )
            found |= dict.fromkeys(matches, (pattern, factor))
        return found


def group_table(model: nn.Module, optimizer: Optimizer) -> Table:
    """Groups with number of parameters, peak rate, weight decay and whether they train; what is in no group is frozen."""
    table = Table(title="parameter groups")
    for heading in ("group", "parameters", "rate", "decay", "trains"):
        table.add_column(heading, justify="left" if heading == "group" else "right")
    grouped = 0
    for group in optimizer.param_groups:
        count = sum(p.numel() for p in group["params"])
        grouped += count
        rate = float(group.get("initial_lr", group["lr"]))  # a warm-up has lowered the other one
        row = (str(group.get("name", "")), f"{count:,}", f"{rate:.3g}", f"{group.get('weight_decay', 0.0):.3g}", "yes")
        table.add_row(*map(escape, row))
    if frozen := sum(p.numel() for p in model.parameters()) - grouped:
        table.add_row("frozen", f"{frozen:,}", "", "", "no")
    table.caption = f"{grouped:,} of {grouped + frozen:,} parameters ({grouped / (grouped + frozen):.2%}) are trained"
    return table


def layer_numbers(model: nn.Module, coarse: bool) -> dict[str, int]:
    """Number of the stage (coarse) or layer of every parameter of a model's backbone, 0 at the images."""
    return {f"backbone.{name}": number for name, number in model.backbone.stages(coarse).items()}  # type: ignore[union-attr, operator]


def matching(names: Mapping[str, object], pattern: str, argument: str) -> list[str]:
    """Names that a regular expression is found in.

    Raises:
        ValueError: naming the argument, for an expression that is invalid or found in no name.
    """
    try:
        found = [name for name in names if re.search(pattern, name)]
    except re.error as error:
        raise ValueError(f"{argument}: {pattern!r} is no regular expression: {error}") from error
    if not found:
        parts = dict.fromkeys(".".join(name.split(".")[:3]) for name in names)
        raise ValueError(f"{argument}: {pattern!r} names no trainable parameter; there are {', '.join(parts)}")
    return found


def _spared(model: nn.Module) -> set[str]:
    backbone = getattr(model, "backbone", None)
    return {f"backbone.{name}" for name in backbone.no_weight_decay()} if backbone is not None else set()
