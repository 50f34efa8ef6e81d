import pytest
import torch
from tiny import bert, gpt2, llama

from lightning_transfer.language import LanguageModel


def _ids(count, seed=0):
    return torch.randint(4, 420, (1, count), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("made", [llama, gpt2])
def test_what_is_read_in_two_parts_is_read_as_in_one(made):
    model, ids = made(), _ids(12)
    whole, past = model.read(ids, torch.tensor([12]))
    assert past.length == 12
    _, front = model.read(ids[:, :7], torch.tensor([7]))
    rest, _ = model.read(ids[:, 7:], torch.tensor([5]), front)
    torch.testing.assert_close(rest, whole[:, 7:], atol=1e-4, rtol=1e-4)
    reference = model.model(input_ids=ids).logits
    torch.testing.assert_close(whole, reference, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("made", [llama, gpt2])
def test_a_batch_of_mixed_lengths_is_read_as_one_by_one(made):
    model = made()
    _, front = model.read(_ids(6), torch.tensor([6]))
    short, long = _ids(3, 1), _ids(8, 2)
    ids = torch.cat([torch.nn.functional.pad(short, (0, 5)), long])
    both, past = model.read(ids, torch.tensor([3, 8]), front)
    alone, _ = model.read(short, torch.tensor([3]), front)
    torch.testing.assert_close(both[:1, :3], alone, atol=1e-4, rtol=1e-4)
    assert past.taken().tolist() == [9, 14]
    # and going on behind rows of different lengths
    more = _ids(2, 3).expand(2, 2)
    after, _ = model.read(more, torch.tensor([2, 2]), past)
    together, _ = model.read(torch.cat([short, more[:1]], dim=1), torch.tensor([5]), front)
    torch.testing.assert_close(after[:1], together[:, 3:], atol=1e-4, rtol=1e-4)


def test_a_shared_past_stays_as_it_is():
    model = llama()
    _, front = model.read(_ids(6), torch.tensor([6]))
    before = front.layers[0][0].clone()
    model.read(_ids(4, 1).expand(3, 4), torch.tensor([4, 4, 4]), front)
    assert front.length == 6
    assert torch.equal(front.layers[0][0], before)


def test_a_closed_column_is_not_read_and_a_weight_is_a_factor_before_normalisation():
    model, ids = llama(), _ids(5, 1)
    plain, _ = model.read(ids, torch.tensor([5]))
    _, front = model.read(_ids(2), torch.tensor([2]))
    closed = front._replace(bias=torch.full((2,), -torch.inf), skipped=2)
    torch.testing.assert_close(model.read(ids, torch.tensor([5]), closed)[0], plain, atol=1e-5, rtol=1e-5)
    open_, _ = model.read(ids, torch.tensor([5]), front)
    zero, _ = model.read(ids, torch.tensor([5]), front._replace(bias=torch.zeros(2)))
    torch.testing.assert_close(zero, open_, atol=1e-4, rtol=1e-4)


def test_entries_of_a_text_are_the_text():
    model, ids = llama(), _ids(5)
    _, read = model.read(ids, torch.tensor([5]))
    entries = model.read_entries(model.model.get_input_embeddings()(ids)[0])
    torch.testing.assert_close(entries.layers[1][1], read.layers[1][1])


def test_positions_choose_scores():
    model, ids = llama(), _ids(6)
    whole, _ = model.read(ids, torch.tensor([6]))
    some, _ = model.read(ids, torch.tensor([6]), positions=torch.tensor([1, 4]))
    torch.testing.assert_close(some, whole[:, [1, 4]])


def test_a_mask_is_filled_alike_in_any_batch():
    model = bert()
    rows = model.encode(["It was <mask>.", "A great film with a great cast. It was <mask>."])
    alone = [model.fill(torch.tensor([row]), torch.tensor([len(row)])) for row in rows]
    width = max(map(len, rows))
    ids = torch.tensor([row + [3] * (width - len(row)) for row in rows])
    both = model.fill(ids, torch.tensor([*map(len, rows)]))
    torch.testing.assert_close(both, torch.cat(alone), atol=1e-5, rtol=1e-5)


def test_encoding_and_decoding():
    model = llama()
    (ids,) = model.encode(["It was great."])
    assert model.decode(ids) == "It was great."
    assert bert().encode(["It"])[0][0] == 2
    assert bert().encode(["It"], marks=False)[0][0] != 2


def test_stages_count_blocks():
    stages = llama().stages()
    assert stages["model.model.embed_tokens.weight"] == 0
    assert stages["model.model.layers.1.mlp.up_proj.weight"] == 2
    assert stages["model.model.norm.weight"] == 3


def test_a_folder_is_read_again_and_a_checkpoint_needs_none(tmp_path):
    from transformers import PreTrainedTokenizerFast

    from lightning_transfer.checkpoint import weights_from_checkpoint

    made = llama()
    made.model.save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=made.tokenizer, eos_token="<end>", bos_token="<end>").save_pretrained(
        tmp_path
    )
    read = LanguageModel(str(tmp_path))
    assert read.source == str(tmp_path)
    assert not read.masked
    torch.testing.assert_close(read.read(_ids(4), torch.tensor([4]))[0], made.read(_ids(4), torch.tensor([4]))[0])
    with weights_from_checkpoint():
        built = LanguageModel(name="gone", config=read.init_args["config"])
    assert built.source is None
    built.load_state_dict(read.state_dict())
    assert built.encode(["It was"]) == read.encode(["It was"])
    torch.testing.assert_close(built.read(_ids(4), torch.tensor([4]))[0], read.read(_ids(4), torch.tensor([4]))[0])


def test_models_without_a_head_are_refused(tmp_path):
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    config = BertConfig(
        vocab_size=420, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=2
    )
    BertModel(config).save_pretrained(tmp_path)
    PreTrainedTokenizerFast(tokenizer_object=bert().tokenizer, mask_token="<mask>").save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="no language-model head"):
        LanguageModel(str(tmp_path))
    with pytest.raises(ValueError, match="no language-model head among its weights"):
        LanguageModel(str(tmp_path), kind="masked")


def test_what_cannot_be_had_is_said_in_a_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match="nobody/nothing.*cannot be had"):
        LanguageModel("nobody/nothing")
    with pytest.raises(FileNotFoundError, match="no file"):
        LanguageModel(str(tmp_path / "a.gguf"))
    (tmp_path / "b.gguf").write_bytes(b"no model at all")
    with pytest.raises(ValueError, match="cannot be read as a GGUF"):
        LanguageModel(str(tmp_path / "b.gguf"))
    with pytest.raises(ValueError, match="kind='prefix'"):
        LanguageModel(kind="prefix")
    with pytest.raises(ValueError, match="dtype='int8'"):
        LanguageModel(dtype="int8")
