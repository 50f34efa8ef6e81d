"""What a mapping has found comes back with its state, into one that was built without data, names or encoder."""

import pytest
import torch

from lightning_transfer import mappings
from lightning_transfer.checkpoint import weights_from_checkpoint
from lightning_transfer.mappings import (
    BayesianMapping,
    FrequencyMapping,
    IterativeMapping,
    LinearMapping,
    RandomMapping,
    SemanticMapping,
)
from lightning_transfer.parts import describe
from lightning_transfer.text_encoders import CharacterNGrams, TextEncoder

NAMES = ["ant", "bee", "cat", "dog", "eel", "fox"]


class Absent(TextEncoder):
    def __call__(self, texts):
        raise AssertionError("a checkpoint needs no encoder")


@pytest.mark.parametrize(
    ("found", "fresh"),
    [
        (FrequencyMapping(2), FrequencyMapping(2)),
        (IterativeMapping(), IterativeMapping()),
        (BayesianMapping(2), BayesianMapping(2)),
        (LinearMapping(FrequencyMapping()), LinearMapping(FrequencyMapping())),
        (RandomMapping(5), RandomMapping(5)),
        (SemanticMapping(CharacterNGrams()), SemanticMapping(Absent())),
    ],
)
def test_comes_back_with_its_state(found, fresh):
    found.build(6, 3, NAMES, ["foxes", "eels", "ants"])
    found.observe(torch.randn(50, 6), torch.randint(3, (50,)))
    found.refit()
    with weights_from_checkpoint():
        fresh.build(6, 3, None, None)
    fresh.load_state_dict(found.state_dict())
    logits = torch.randn(4, 6)
    assert torch.equal(fresh(logits), found(logits))
    assert not fresh.needs_data()


def test_each_is_described_by_its_arguments():
    made = [getattr(mappings, name)() for name in mappings.__all__ if name != "LabelMapping"]
    assert len(made) == 9
    for mapping in made:
        assert describe(mapping)["class_path"].endswith(type(mapping).__name__)
    assert describe(SemanticMapping(CharacterNGrams(2)))["init_args"]["encoder"]["init_args"]["length"] == 2
