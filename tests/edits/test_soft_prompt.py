import pytest
import torch
from tiny import bert, gpt2, llama
from torch import nn

from lightning_transfer import TimmBackbone
from lightning_transfer.checkpoint import weights_from_checkpoint
from lightning_transfer.edits import FreezeBackbone, LoRA, SoftPrompt
from lightning_transfer.edits.language import common_tokens
from lightning_transfer.optim import ParamGroups

TEXT, QUERY = "Review: a great film.", " It was dull and bad."


class Holder(nn.Module):
    """A model with nothing but a backbone."""

    def __init__(self, backbone, *edits):
        super().__init__()
        self.backbone = backbone
        for edit in edits:
            edit(self)


def read(backbone, text, past=None):
    ids = torch.tensor(backbone.encode([text], marks=False))
    return backbone.read(ids, torch.tensor([ids.shape[1]]), past)[0]


@pytest.mark.parametrize("make", [llama, gpt2])
def test_begun_with_a_text_it_is_that_text(make):
    backbone = make()
    ids = [backbone.encode([text], marks=False)[0] for text in (TEXT, QUERY)]
    joined = torch.tensor([ids[0] + ids[1]])
    hard = backbone.read(joined, torch.tensor([joined.shape[1]]))[0][:, len(ids[0]) :]
    Holder(backbone, SoftPrompt(text=TEXT))
    assert backbone.prompt.length == len(ids[0])
    torch.testing.assert_close(read(backbone, QUERY, backbone.begin()), hard, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(read(backbone, QUERY), hard, atol=1e-2)


def test_a_text_is_repeated_or_cut():
    backbone = llama()
    ids = backbone.encode([TEXT], marks=False)[0]
    rows = backbone.model.get_input_embeddings().weight
    for count in (2, len(ids) + 3):
        backbone.prompt = None
        Holder(backbone, SoftPrompt(count, TEXT))
        assert torch.equal(backbone.prompt.embeddings(), rows[(ids * 2)[:count]])


def test_trains_its_entries_alone():
    model = Holder(llama(), SoftPrompt(5))
    assert [name for name, p in model.named_parameters() if p.requires_grad] == ["backbone.prompt.entry"]
    before = {name: value.clone() for name, value in model.backbone.model.state_dict().items()}
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=0.1)
    losses = []
    for _ in range(8):
        loss = read(model.backbone, QUERY, model.backbone.begin())[0, :-1].logsumexp(-1).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert bool((model.backbone.prompt.entry.grad.abs().sum(dim=1) > 0).all())
    assert all(torch.equal(value, before[name]) for name, value in model.backbone.model.state_dict().items())
    assert all(p.grad is None for p in model.backbone.model.parameters())


def test_begins_with_common_tokens_or_by_chance():
    backbone = llama()
    rows = backbone.model.get_input_embeddings().weight.detach()
    common = {tuple(row) for row in rows[common_tokens(backbone)].tolist()}
    Holder(backbone, SoftPrompt(12))
    drawn = {tuple(row) for row in backbone.prompt.entry.tolist()}
    assert drawn <= common
    assert len(drawn) == 12  # none twice
    for init, std in (("normal", float(rows.std())), ("uniform", 1 / 12**0.5)):
        backbone.prompt = None
        Holder(backbone, SoftPrompt(200, init=init))
        assert backbone.prompt.entry.std().item() == pytest.approx(std, rel=0.05)
    assert backbone.prompt.entry.abs().max() <= 0.5


def test_common_tokens_are_letters_in_the_order_of_the_vocabulary():
    backbone = llama()
    found = common_tokens(backbone).tolist()
    assert found == sorted(found)
    texts = [backbone.decode([i]) for i in found]
    assert all(text.strip().isalpha() for text in texts)
    assert {" great", "a"} <= set(texts)
    assert common_tokens(backbone, 7).tolist() == found[:7]


def test_in_front_of_a_masked_model():
    backbone = bert()
    entries = backbone.encode([TEXT], marks=False)[0]
    Holder(backbone, SoftPrompt(text=TEXT))
    ids = torch.tensor([[2, *backbone.encode([QUERY], marks=False)[0], 1, 3]])
    soft = backbone.fill(ids, torch.tensor([ids.shape[1]]))
    backbone.prompt = None
    hard = torch.cat([torch.tensor([entries]), ids], dim=1)
    torch.testing.assert_close(soft, backbone.fill(hard, torch.tensor([hard.shape[1]])), rtol=1e-5, atol=1e-5)


def test_a_checkpoint_brings_its_number_of_tokens():
    backbone = llama()
    Holder(backbone, SoftPrompt(text=TEXT))
    state = backbone.prompt.state_dict()
    with weights_from_checkpoint():
        twin = llama()
        twin.tokenizer = None
        Holder(twin, SoftPrompt(text=TEXT))
    twin.prompt.load_state_dict(state)
    assert twin.prompt.length == backbone.prompt.length
    assert torch.equal(twin.prompt.entry, backbone.prompt.entry)
    with pytest.raises(RuntimeError, match="size mismatch"):  # another model's entries are no longer ones of this
        twin.prompt.load_state_dict({"entry": torch.zeros(3, 33)})


def test_lora_may_train_beside_it():
    pytest.importorskip("peft")
    for edits in ([SoftPrompt(2), LoRA(rank=2)], [LoRA(rank=2), SoftPrompt(2)]):
        model = Holder(llama(), *edits)
        kinds = {name.split(".")[1] if "prompt" in name else name.split(".")[-3] for name in trained(model)}
        assert kinds == {"prompt", "lora_A", "lora_B"}


def trained(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_is_a_group_of_its_own_without_decay():
    for groups in (ParamGroups(), ParamGroups(by_stage=True), ParamGroups(layer_decay=0.5)):
        (group,) = groups(Holder(llama(), SoftPrompt(2)))
        assert group["name"] == "prompt/no_decay"
        assert group["weight_decay"] == 0
        assert group["lr_factor"] == 1
        assert [p.shape[0] for p in group["params"]] == [2]


def test_freezing_the_backbone_freezes_it_too():
    assert not trained(Holder(llama(), SoftPrompt(2), FreezeBackbone()))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"tokens": 0}, "tokens=0 of SoftPrompt must be at least 1"),
        ({"text": "  "}, "text='  ' of SoftPrompt is empty"),
        ({"init": "zero"}, "init='zero' of SoftPrompt must be one of vocabulary, normal, uniform"),
    ],
)
def test_values_out_of_range_get_a_sentence(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        SoftPrompt(**arguments)


def test_other_backbones_get_a_sentence():
    with pytest.raises(ValueError, match="a TimmBackbone, is no LanguageModel; TokenPrompt goes"):
        Holder(TimmBackbone("test_vit", pretrained=False), SoftPrompt())
    with pytest.raises(ValueError, match="finds a Entries in front of the texts already"):
        Holder(llama(), SoftPrompt(), SoftPrompt())
    with pytest.raises(ValueError, match="tokens=64 of SoftPrompt leave no room for texts: .* context of 64"):
        Holder(llama(context=64), SoftPrompt(64))
