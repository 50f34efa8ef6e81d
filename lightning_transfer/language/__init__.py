"""Language models: texts to scores of what comes next, of choices, or to texts; all of them read behind a `Past`."""

from lightning_transfer.language.model import LanguageModel
from lightning_transfer.language.past import Past
from lightning_transfer.language.prompt import Prompt

__all__ = ["LanguageModel", "Past", "Prompt"]
