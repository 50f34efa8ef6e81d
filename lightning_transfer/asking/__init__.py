"""How a language model is asked: texts and worked examples to a prompt, and the model's scores or words to an answer."""

from lightning_transfer.asking.base import Asking
from lightning_transfer.asking.choosing import Choosing
from lightning_transfer.asking.saying import Saying

__all__ = ["Asking", "Choosing", "Saying"]
