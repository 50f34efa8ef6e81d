"""What soft prompts of language models share: the model that they go in front of, and the tokens that they begin with."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.contracts import ModelEdit
from lightning_transfer.edits.freeze import backbone_of
from lightning_transfer.language.model import LanguageModel
from lightning_transfer.language.prompt import Prompt


class Sized(Prompt):
    """A prompt that takes over the size of what is loaded into it: a checkpoint's text has no tokens before its tokenizer is loaded.

    Attributes:
        columns: which dimension of its own parameters is P, by their names.
    """

    columns: ClassVar[Mapping[str, int]]

    @property
    def length(self) -> int:  # type: ignore[override]  # the base's attribute, which changes here
        name, along = next(iter(self.columns.items()))
        return int(self.get_parameter(name).shape[along])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *others: Any) -> None:
        for name, parameter in self.named_parameters(recurse=False):
            found, wanted = state_dict.get(prefix + name), list(parameter.shape)
            if isinstance(found, Tensor) and found.ndim == parameter.ndim:
                wanted[self.columns[name]] = found.shape[self.columns[name]]
                parameter.data = parameter.data.new_zeros(wanted) if list(parameter.shape) != wanted else parameter.data
        super()._load_from_state_dict(state_dict, prefix, *others)


def language_model(model: nn.Module, edit: ModelEdit) -> LanguageModel:
    """Return a model's backbone, in front of which there is room for a soft prompt.

    Raises:
        ValueError: for a backbone that is no language model, or that has a soft prompt.
    """
    backbone, name = backbone_of(model, edit), type(edit).__name__
    if not isinstance(backbone, LanguageModel):
        raise ValueError(
            f"edits: {name} goes in front of texts, and the backbone, a {type(backbone).__name__}, is no LanguageModel; TokenPrompt "
            "goes in front of an image's patches"
        )
    if backbone.prompt is not None:
        raise ValueError(
            f"edits: {name} finds a {type(backbone.prompt).__name__} in front of the texts already; give one of them"
        )
    return backbone


def check_tokens(edit: str, tokens: int | None, text: str | None) -> None:
    """Refuse a number of tokens that is none, and a text without a letter.

    Raises:
        ValueError: for either.
    """
    if tokens is not None and tokens < 1:
        raise ValueError(f"tokens={tokens} of {edit} must be at least 1; 8 to 100 are common")
    if text is not None and not text.strip():
        raise ValueError(f"text={text!r} of {edit} is empty; give a text to begin with, or leave it out")


def first_tokens(backbone: LanguageModel, tokens: int | None, text: str | None, edit: str, usual: int) -> Tensor:
    """The tokens that a prompt begins with, (P,) int64: a text's, repeated or cut to P if that is given, or common ones drawn by chance.

    Args:
        backbone: whose vocabulary it is.
        tokens: P.
        text: none for common tokens.
        edit: the class, for the error.
        usual: P where neither is given.

    Raises:
        ValueError: where no room is left for a text behind it.
    """
    if expects_checkpoint():  # they are about to be replaced, and the tokenizer is not there yet
        return torch.zeros(tokens or usual, dtype=torch.long)
    if text is not None:
        ids = backbone.encode([text], marks=False)[0]
        count = tokens or len(ids)
        chosen = torch.tensor((ids * -(-count // len(ids)))[:count])
    else:
        known = common_tokens(backbone)
        count = tokens or usual
        order = torch.cat([torch.randperm(len(known)) for _ in range(-(-count // len(known)))])
        chosen = known[order[:count]]
    if count >= backbone.context:
        raise ValueError(
            f"tokens={count} of {edit} leave no room for texts: the model has a context of {backbone.context} tokens in all"
        )
    return chosen


def common_tokens(backbone: LanguageModel, most: int = 5000) -> Tensor:
    """The first entries of the vocabulary that are letters and no more, but for spaces, (n,) int64.

    A vocabulary is built from the most common pieces to the rarer ones (merges of byte pairs are in the order of their counts, and pieces of
    SentencePiece and WordPiece nearly so): its order stands for how common they are. Marks, digits, bytes and unused entries are left out.

    Args:
        backbone: whose vocabulary it is.
        most: n at most; Lester et al. draw from 5,000.
    """
    found: list[int] = []
    for i in range(backbone.tokenizer.get_vocab_size()):
        if backbone.tokenizer.decode([i], skip_special_tokens=True).strip().removeprefix("##").isalpha():
            found.append(i)
        if len(found) == most:
            break
    return torch.tensor(found or [*range(backbone.tokenizer.get_vocab_size())])
