"""Training keys and values of all layers, in front of every text."""

from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from lightning_transfer.contracts import Insertion
from lightning_transfer.edits.freeze import freeze_untouched
from lightning_transfer.edits.language import Sized, check_tokens, first_tokens, language_model
from lightning_transfer.language.model import LanguageModel
from lightning_transfer.language.past import Past

Start = Literal["closed", "text", "random"]
_USUAL = 20
_CLOSED = 1e-20  # weight of a column; a text's first token, which attends to itself alone, can make 10^10 times as much of it as others
_PACE = 10.0  # a column's weight over its parameter: with 1 it opens slowly, with 100 the first step of Adam may already disturb the model
_STEEPEST = (
    0.1  # of a weight's gradient: at that first token it is huge, and Adam would remember it for hundreds of steps
)


class PrefixTuning(Insertion):
    """Freeze a language model and train keys and values of P columns in each of its layers, which all texts attend to (prefix tuning).

    Three starts: `closed` columns are multiplied in the softmax by a weight that is learned and begins at 10^-20, so that the model says at
    first what it says without them; they hold keys and values of the text, or of common tokens, read behind one token more. With `text` they are those of the text as
    the model reads it, with weight 1, and the model says at first what it says behind it. `random` ones are normal with each layer's
    standard deviations, and disturb the model at first.

    A closed column's gradient is as small as its weight, and its weight's is not: a parameter is that weight (a tenth of it), not its
    logarithm, whose gradient would vanish too. It opens within a few steps, and keys and values learn from then on.

    Args:
        tokens: P ≥ 1; 20 if not given, or as many as the text has. A text is repeated or cut to this number.
        text: to begin with.
        start: `closed`, `text` or `random`.
        hidden: units of an MLP that makes, in training, what is added to keys and values at the start, of P vectors as wide as the model's
            entries: it ties all layers together. `lightning-transfer merge` adds it for good. None if not given.

    Raises:
        ValueError: for values out of range, a backbone that is no causal language model, whose layers differ in their shapes, or that has
            a soft prompt.

    Reference:
        Li, Liang, "Prefix-Tuning: Optimizing Continuous Prompts for Generation", ACL 2021, equation 3 and section 4.3.

    Deviation:
        The paper's prefix is what its MLP makes, or keys and values of a text; here the MLP begins at zero and is added to one of the
        starts. The paper has no closed start; PEFT's `zero` one takes a share of the attention.
    """

    def __init__(
        self, tokens: int | None = None, text: str | None = None, start: Start = "closed", hidden: int | None = None
    ) -> None:
        check_tokens("PrefixTuning", tokens, text)
        if start not in get_args(Start):
            raise ValueError(f"start={start!r} of PrefixTuning must be one of {', '.join(get_args(Start))}")
        if start == "text" and text is None:
            raise ValueError("start='text' of PrefixTuning begins with a text; give it as text=")
        if start == "random" and text is not None:
            raise ValueError(f"start='random' of PrefixTuning does not begin with text={text!r}; leave one of them out")
        if hidden is not None and hidden < 1:
            raise ValueError(f"hidden={hidden} of PrefixTuning must be at least 1; 512 is the paper's")
        self.tokens = tokens
        self.text = text
        self.start = start
        self.hidden = hidden

    def __call__(self, model: nn.Module) -> None:
        backbone = language_model(model, self)
        if backbone.masked:
            raise ValueError(
                "edits: PrefixTuning puts keys and values in front of a causal language model, and this one fills in a mask; take SoftPrompt"
            )
        freeze_untouched(backbone)
        ids = first_tokens(backbone, self.tokens, self.text, "PrefixTuning", _USUAL)
        # the first column of all is where attention goes that has nowhere else to: a text has one itself, and two would disturb it
        keys, values = (
            _read(backbone, ids) if self.start == "text" else _read(backbone, torch.cat([ids[:1], ids]), skip=1)
        )
        if self.start == "random":
            keys, values = (torch.randn_like(t) * t.std(dim=(1, 2, 3), keepdim=True) for t in (keys, values))
        prompt = KeysValues(keys, values, _CLOSED if self.start == "closed" else None)
        if self.hidden is not None:
            prompt.tie(backbone.num_features, self.hidden)
        backbone.prompt = prompt

    @classmethod
    def fold(cls, model: nn.Module) -> None:
        prompt = cast(Any, model).backbone.prompt
        if isinstance(prompt, KeysValues):
            prompt.untie()

    @classmethod
    def left(cls, arguments: dict[str, Any]) -> tuple[type, dict[str, Any]] | None:
        return cls, {**arguments, "hidden": None}


class KeysValues(Sized):
    """Keys and values of P columns in each of L layers.

    Args:
        keys: those to begin with, (L, heads, P, width).
        values: likewise; their width may differ.
        weight: which each column begins with in the softmax; 1, and not learned, if none. Columns with a weight take no positions.
    """

    columns = {"key": 2, "value": 2, "gate": 0, "source": 0}  # noqa: RUF012

    def __init__(self, keys: Tensor, values: Tensor, weight: float | None) -> None:
        super().__init__()
        self.key, self.value = nn.Parameter(keys.detach().clone()), nn.Parameter(values.detach().clone())
        self.gate = nn.Parameter(torch.full((keys.shape[2],), weight / _PACE)) if weight is not None else None
        self.source: nn.Parameter | None = None
        self.mlp: nn.Sequential | None = None

    def tie(self, width: int, hidden: int) -> None:
        """Train, in the place of keys and values, an MLP of P vectors, whose outputs are added to them."""
        self.requires_grad_(False)
        layers, heads, length, of_key = self.key.shape
        self.source = nn.Parameter(torch.randn(length, width))
        last = nn.Linear(hidden, layers * heads * (of_key + self.value.shape[3]))
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), last)
        if self.gate is not None:
            self.gate.requires_grad_(True)

    def untie(self) -> None:
        """Add what the MLP makes to keys and values, which train from now on."""
        keys, values = self.keys_values()
        self.source = self.mlp = None
        self.key.data, self.value.data = keys.detach().clone(), values.detach().clone()
        self.requires_grad_(True)

    def keys_values(self) -> tuple[Tensor, Tensor]:
        """Keys and values of all layers, each (L, heads, P, width)."""
        if self.mlp is None:
            return self.key, self.value
        layers, heads, length, of_key = self.key.shape
        made = self.mlp(self.source).view(length, layers, heads, -1).permute(1, 2, 0, 3)
        return self.key + made[..., :of_key], self.value + made[..., of_key:]

    def past(self, model: LanguageModel) -> Past:
        keys, values = (t.to(model.model.dtype)[:, None] for t in self.keys_values())
        layers = tuple(zip(keys, values, strict=True))
        if self.gate is None:
            return Past(layers)
        weight = _PACE * self.gate.float().abs()  # either sign is a weight
        if weight.requires_grad:
            weight.register_hook(_bounded)  # type: ignore[no-untyped-call]
        return Past(layers, bias=weight.clamp(min=1e-37).log(), skipped=self.length)


def _bounded(gradient: Tensor) -> Tensor:
    return gradient.clamp(-_STEEPEST, _STEEPEST)


@torch.no_grad()
def _read(backbone: LanguageModel, ids: Tensor, skip: int = 0) -> tuple[Tensor, Tensor]:
    """Keys and values of tokens (P,) as the model reads them, without the first columns, each (L, heads, P - skip, width)."""
    layers = backbone.read(ids[None].to(backbone.device), torch.tensor([len(ids)]))[1].layers
    shapes = {(tuple(key.shape), tuple(value.shape)) for key, value in layers}
    if len(shapes) > 1:
        found = ", ".join(f"{key[1]} heads of {key[3]}" for key, _ in sorted(shapes))
        raise ValueError(
            f"edits: PrefixTuning takes models whose layers have keys of one shape, but here they have {found}; take SoftPrompt"
        )
    keys, values = (torch.cat([pair[i].float() for pair in layers])[:, :, skip:] for i in (0, 1))
    return keys, values
