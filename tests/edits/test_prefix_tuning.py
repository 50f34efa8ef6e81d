from itertools import pairwise

import pytest
import torch
from tiny import bert, gpt2, llama
from torch import nn
from torch.nn.functional import kl_div

from lightning_transfer.checkpoint import weights_from_checkpoint
from lightning_transfer.edits import PrefixTuning

TEXT, QUERY = "Review: a great film.", " It was dull and bad."


class Holder(nn.Module):
    """A model with nothing but a backbone."""

    def __init__(self, backbone, *edits):
        super().__init__()
        self.backbone = backbone
        for edit in edits:
            edit(self)


def read(backbone, text=QUERY, prompted=True):
    ids = torch.tensor(backbone.encode([text], marks=False))
    return backbone.read(ids, torch.tensor([ids.shape[1]]), backbone.begin() if prompted else None)[0]


def nats(found, plain):
    """KL divergence of the plain model's next tokens from those found, on average."""
    found, plain = (logits.detach().double().log_softmax(-1) for logits in (found, plain))
    return kl_div(found, plain, log_target=True, reduction="none").sum(-1).mean().item()


def trained(model):
    return {name.removeprefix("backbone.prompt.") for name, p in model.named_parameters() if p.requires_grad}


def fit(backbone, steps=6, lr=0.03):
    """Losses of some steps towards one token."""
    optimizer = torch.optim.Adam([p for p in backbone.parameters() if p.requires_grad], lr)
    losses = []
    for _ in range(steps):
        loss = -read(backbone)[0, -1].log_softmax(-1)[7]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("options", [{}, {"text": TEXT}, {"hidden": 8}])
def test_a_closed_start_is_the_plain_model(make, options):
    backbone = make()
    Holder(backbone, PrefixTuning(start="closed", **options))
    assert nats(read(backbone), read(backbone, prompted=False)) < 1e-6


def test_a_start_at_zero_keys_and_values_would_not_be():
    """What PEFT calls `zero`: columns of weight 1 whose keys are zero take a share of the attention."""
    backbone = llama()
    Holder(backbone, PrefixTuning(8, start="random"))
    with torch.no_grad():
        backbone.prompt.key.zero_()
        backbone.prompt.value.zero_()
    assert nats(read(backbone), read(backbone, prompted=False)) > 1e-2


@pytest.mark.parametrize("make", [llama, gpt2])
@pytest.mark.parametrize("hidden", [None, 8])
def test_begun_with_a_text_it_is_that_text(make, hidden):
    backbone = make()
    ids = [backbone.encode([text], marks=False)[0] for text in (TEXT, QUERY)]
    joined = torch.tensor([ids[0] + ids[1]])
    hard = backbone.read(joined, torch.tensor([joined.shape[1]]))[0][:, len(ids[0]) :]
    Holder(backbone, PrefixTuning(text=TEXT, start="text", hidden=hidden))
    torch.testing.assert_close(read(backbone), hard, rtol=1e-4, atol=1e-4)


def test_a_closed_prefix_that_is_opened_is_its_text_without_what_comes_first():
    backbone = llama()
    Holder(backbone, PrefixTuning(text=TEXT, start="closed"))
    with torch.no_grad():
        backbone.prompt.gate.fill_(0.1)  # a tenth of the weight
    past, ids = backbone.begin(), backbone.encode([TEXT], marks=False)[0]
    assert torch.equal(past.bias, torch.zeros(len(ids)))
    whole = backbone.read(torch.tensor([ids[:1] + ids]), torch.tensor([len(ids) + 1]))[1]
    for found, wanted in zip(past.layers, whole.layers, strict=True):
        assert all(torch.equal(a, b[:, :, 1:]) for a, b in zip(found, wanted, strict=True))
    with torch.no_grad():
        backbone.prompt.gate.neg_()  # the sign says nothing
    assert torch.equal(backbone.begin().bias, past.bias)


def test_has_the_shapes_of_grouped_heads():
    backbone = llama()
    Holder(backbone, PrefixTuning(5))
    assert (
        backbone.prompt.key.shape == backbone.prompt.value.shape == (2, 2, 5, 8)
    )  # layers, key heads, P, width of 4 heads of 32
    assert [tuple(key.shape) for key, _ in backbone.begin().layers] == [(1, 2, 5, 8)] * 2
    assert backbone.prompt.length == backbone.begin().length == 5


@pytest.mark.parametrize(
    ("options", "names"),
    [
        ({}, {"key", "value", "gate"}),
        ({"start": "random"}, {"key", "value"}),
        ({"hidden": 8}, {"source", "gate", "mlp.0.weight", "mlp.0.bias", "mlp.2.weight", "mlp.2.bias"}),
    ],
)
def test_trains_its_own_alone_and_falls(options, names):
    model = Holder(llama(), PrefixTuning(4, **options))
    before = {name: value.clone() for name, value in model.backbone.model.state_dict().items()}
    assert trained(model) == names
    losses = fit(model.backbone)
    assert losses[-1] < losses[0] - 0.1
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.model.state_dict().items())


def test_a_closed_start_opens_within_a_few_steps():
    backbone = llama()
    Holder(backbone, PrefixTuning(4))
    prompt = backbone.prompt
    keys = prompt.key.detach().clone()
    (-read(backbone)[0, -1].log_softmax(-1)[7]).backward()
    assert prompt.gate.grad.abs().min() > 1e-3  # that of its logarithm is a millionth of it
    assert prompt.key.grad.abs().max() < 1e-5
    losses = fit(backbone, 10)
    assert prompt.gate.abs().min() > 1e-2
    assert (prompt.key - keys).abs().mean() > 1e-2  # keys learn once there is a weight
    assert sum(later < earlier for earlier, later in pairwise(losses)) >= 8


def test_what_its_mlp_learned_is_added_for_good():
    model = Holder(llama(), PrefixTuning(4, hidden=8))
    fit(model.backbone)
    learned = read(model.backbone)
    PrefixTuning.fold(model)
    torch.testing.assert_close(read(model.backbone), learned)
    assert trained(model) == {"key", "value", "gate"}
    twin = Holder(llama(), PrefixTuning(4))
    assert model.state_dict().keys() == twin.state_dict().keys()
    edit, arguments = PrefixTuning.left({"tokens": 4, "hidden": 8})
    assert edit(**arguments).init_args == PrefixTuning(4).init_args


def test_a_checkpoint_brings_its_number_of_tokens():
    backbone = llama()
    Holder(backbone, PrefixTuning(text=TEXT, hidden=4))
    with weights_from_checkpoint():
        twin = llama()
        twin.tokenizer = None
        Holder(twin, PrefixTuning(text=TEXT, hidden=4))
    twin.prompt.load_state_dict(backbone.prompt.state_dict())
    assert torch.equal(read(backbone), backbone.read(*ids(backbone), twin.begin())[0])


def ids(backbone):
    found = torch.tensor(backbone.encode([QUERY], marks=False))
    return found, torch.tensor([found.shape[1]])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tokens": 0}, "tokens=0 of PrefixTuning must be at least 1"),
        ({"start": "zero"}, "start='zero' of PrefixTuning must be one of closed, text, random"),
        ({"start": "text"}, "start='text' of PrefixTuning begins with a text; give it"),
        ({"start": "random", "text": "a"}, "start='random' of PrefixTuning does not begin with text='a'"),
        ({"hidden": 0}, "hidden=0 of PrefixTuning must be at least 1"),
    ],
)
def test_values_out_of_range_get_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        PrefixTuning(**arguments)


def test_other_models_get_a_sentence():
    with pytest.raises(ValueError, match="this one fills in a mask; take SoftPrompt"):
        Holder(bert(), PrefixTuning())
    backbone = llama()
    uneven = backbone.read

    def read_unevenly(*given):
        logits, past = uneven(*given)
        (key, value), other = past.layers
        return logits, past._replace(layers=((key.repeat(1, 2, 1, 1), value.repeat(1, 2, 1, 1)), other))

    backbone.read = read_unevenly
    with pytest.raises(ValueError, match="keys of one shape, but here they have 2 heads of 8, 4 heads of 8"):
        Holder(backbone, PrefixTuning())
