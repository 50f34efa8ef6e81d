import pytest
import torch
from tiny import bert, llama
from torch import nn

from lightning_transfer.edits import PTuning, SoftPrompt


class Holder(nn.Module):
    """A model with nothing but a backbone."""

    def __init__(self, backbone, *edits):
        super().__init__()
        self.backbone = backbone
        for edit in edits:
            edit(self)


def test_makes_its_entries_by_an_lstm_and_an_mlp_and_trains_these_alone():
    model = Holder(llama(), PTuning(5, hidden=6))
    prompt = model.backbone.prompt
    assert prompt.embeddings().shape == (5, 32)
    assert {name.split(".")[2] for name, p in model.named_parameters() if p.requires_grad} == {"entry", "lstm", "mlp"}
    model.backbone.begin().layers[-1][1].square().sum().backward()
    assert all(p.grad.abs().sum() > 0 for name, p in prompt.named_parameters())
    assert all(p.grad is None for p in model.backbone.model.parameters())


def test_every_entry_depends_on_all_vectors():
    prompt = Holder(llama(), PTuning(4, hidden=6)).backbone.prompt
    before = prompt.embeddings().detach()
    for i in (0, 3):
        with torch.no_grad():
            prompt.entry[i] += 1
        assert bool(((prompt.embeddings() - before).abs().sum(dim=1) > 0).all())


@pytest.mark.parametrize("make", [llama, bert])
def test_once_trained_it_is_what_it_makes(make):
    model = Holder(make(), PTuning(3))
    made = model.backbone.prompt.embeddings().detach()
    PTuning.fold(model)
    assert torch.equal(model.backbone.prompt.embeddings(), made)
    edit, arguments = PTuning.left({"tokens": 3})
    twin = Holder(make(), edit(**arguments))
    assert isinstance(edit(**arguments), SoftPrompt)
    assert model.state_dict().keys() == twin.state_dict().keys()
    assert twin.backbone.prompt.length == 3


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tokens": 0}, "tokens=0 of PTuning must be at least 1"),
        ({"hidden": 7}, "hidden=7 of PTuning must be even and at least 2"),
        ({"hidden": 0}, "hidden=0 of PTuning must be even"),
    ],
)
def test_values_out_of_range_get_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        PTuning(**arguments)
