"""Training a small network that makes the entries in front of every text."""

from typing import Any, cast

import torch
from torch import Tensor, nn

from lightning_transfer.contracts import Insertion
from lightning_transfer.edits.freeze import freeze_untouched
from lightning_transfer.edits.language import check_tokens, first_tokens, language_model
from lightning_transfer.edits.soft_prompt import Entries, SoftPrompt


class PTuning(Insertion):
    """Freeze a language model and train P entries in front of every text, which an LSTM of both directions and an MLP make (p-tuning).

    The network ties the entries to one another, so that they move together; once trained, it is what it makes: `lightning-transfer merge`
    leaves a `SoftPrompt`.

    Args:
        tokens: P ≥ 1.
        hidden: units of the MLP, and of the LSTM's two directions together: even; the width of the model's entries if not given.

    Raises:
        ValueError: for values out of range, a backbone that is no language model, or one that has a soft prompt.

    Reference:
        Liu, Zheng, Du, Ding, Qian, Yang, Tang, "GPT Understands, Too", 2021 (AI Open 2024), section 3.2: an LSTM of two layers and an MLP
        of two.

    Deviation:
        All entries stand in front of the text; the paper also puts some behind it, and words of the task between them. PEFT's
        `PromptEncoder` is by default an MLP of three layers without an LSTM.
    """

    def __init__(self, tokens: int = 20, hidden: int | None = None) -> None:
        check_tokens("PTuning", tokens, None)
        if hidden is not None and (hidden < 2 or hidden % 2):
            raise ValueError(
                f"hidden={hidden} of PTuning must be even and at least 2: half of it is for each direction"
            )
        self.tokens = tokens
        self.hidden = hidden

    def __call__(self, model: nn.Module) -> None:
        backbone = language_model(model, self)
        freeze_untouched(backbone)
        count = len(first_tokens(backbone, self.tokens, None, "PTuning", self.tokens))
        width = backbone.num_features
        backbone.prompt = MadeEntries(count, width, self.hidden or width + width % 2)

    @classmethod
    def fold(cls, model: nn.Module) -> None:
        backbone = cast(Any, model).backbone
        if isinstance(backbone.prompt, MadeEntries):
            backbone.prompt = Entries(backbone.prompt.embeddings())

    @classmethod
    def left(cls, arguments: dict[str, Any]) -> tuple[type, dict[str, Any]] | None:
        return SoftPrompt, {"tokens": arguments.get("tokens", 20), "init": "normal"}


class MadeEntries(Entries):
    """P entries that an LSTM and an MLP make of P vectors.

    Args:
        length: P.
        width: D, of an entry.
        hidden: of a vector, of the LSTM's directions together, and of the MLP.
    """

    def __init__(self, length: int, width: int, hidden: int) -> None:
        super().__init__(torch.randn(length, hidden))
        self.lstm = nn.LSTM(hidden, hidden // 2, num_layers=2, bidirectional=True, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, width))

    def embeddings(self) -> Tensor:
        return cast(Tensor, self.mlp(self.lstm(self.entry[None])[0][0]))
