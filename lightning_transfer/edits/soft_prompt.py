"""Training entries in the place of tokens, in front of every text."""

from typing import Literal, get_args

from torch import Tensor, nn

from lightning_transfer.contracts import ModelEdit
from lightning_transfer.edits.freeze import freeze_untouched
from lightning_transfer.edits.language import Sized, check_tokens, first_tokens, language_model
from lightning_transfer.language.model import LanguageModel
from lightning_transfer.language.past import Past

Start = Literal["vocabulary", "normal", "uniform"]
_USUAL = 20


class SoftPrompt(ModelEdit):
    """Freeze a language model and train P entries that it reads in front of every text as if they were tokens (prompt tuning).

    Begun with the entries of a text, the model says at first what it says behind that text, and training moves on from there. Entries
    that are no word's learn far more slowly, or at rates of 0.1 to 1: those of words are small (SmolLM2's have a standard deviation of 0.14).

    Entries are read once a step, not once a text. Rates of LoRA's size hardly move them: see `configs/language/prompt_tuning`.

    Args:
        tokens: P ≥ 1; 20 if not given, or as many as the text has. A text is repeated or cut to this number.
        text: whose tokens' entries to begin with; for the names of the classes, as the paper has it, give these.
        init: without a text: entries of common tokens (`vocabulary`, drawn from the 5,000 that come first in the vocabulary, whose order
            stands for how common they are), or by chance: `normal` with the standard deviation of all entries, or `uniform` within ±0.5.

    Raises:
        ValueError: for values out of range, a backbone that is no language model, or one that has a soft prompt.

    Reference:
        Lester, Al-Rfou, Constant, "The Power of Scale for Parameter-Efficient Prompt Tuning", EMNLP 2021, sections 2 and 3.2.

    Deviation:
        The paper trains T5 by Adafactor at a rate of 0.3 for 30,000 steps; here optimiser and rate are the configuration's. What stands for
        common tokens is letters alone.
    """

    def __init__(self, tokens: int | None = None, text: str | None = None, init: Start = "vocabulary") -> None:
        check_tokens("SoftPrompt", tokens, text)
        if init not in get_args(Start):
            raise ValueError(f"init={init!r} of SoftPrompt must be one of {', '.join(get_args(Start))}; or give a text")
        self.tokens = tokens
        self.text = text
        self.init = init

    def __call__(self, model: nn.Module) -> None:
        backbone = language_model(model, self)
        freeze_untouched(backbone)
        backbone.prompt = Entries(self._draw(backbone))

    def _draw(self, backbone: LanguageModel) -> Tensor:
        """Entries (P, D) to begin with."""
        known: Tensor = backbone.model.get_input_embeddings().weight.detach().float()
        entries = known[first_tokens(backbone, self.tokens, self.text, "SoftPrompt", _USUAL)]
        if self.text is not None or self.init == "vocabulary":
            return entries
        return entries.normal_(std=float(known.std())) if self.init == "normal" else entries.uniform_(-0.5, 0.5)


class Entries(Sized):
    """P entries in the place of tokens.

    Args:
        entries: those to begin with, (P, D).
    """

    columns = {"entry": 0}  # noqa: RUF012

    def __init__(self, entries: Tensor) -> None:
        super().__init__()
        self.entry = nn.Parameter(entries.detach().clone())

    def embeddings(self) -> Tensor:
        return self.entry

    def past(self, model: LanguageModel) -> Past:
        return model.read_entries(self.embeddings().to(model.model.dtype))
