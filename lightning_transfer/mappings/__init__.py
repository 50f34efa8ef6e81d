"""Label mappings: scores of the classes that a network was pretrained for to scores of the classes that are wanted."""

from lightning_transfer.mappings.base import LabelMapping
from lightning_transfer.mappings.bayesian import BayesianMapping
from lightning_transfer.mappings.first import FirstMapping
from lightning_transfer.mappings.frequency import FrequencyMapping
from lightning_transfer.mappings.iterative import IterativeMapping
from lightning_transfer.mappings.linear import LinearMapping
from lightning_transfer.mappings.random import RandomMapping
from lightning_transfer.mappings.semantic import SemanticMapping
from lightning_transfer.mappings.text import FixedTextMapping, TextMapping

__all__ = [
    "BayesianMapping",
    "FirstMapping",
    "FixedTextMapping",
    "FrequencyMapping",
    "IterativeMapping",
    "LabelMapping",
    "LinearMapping",
    "RandomMapping",
    "SemanticMapping",
    "TextMapping",
]
