import pytest
import torch
from tiny import bert, gpt2, llama

from lightning_transfer.language import score
from lightning_transfer.language.fill import word_scores
from lightning_transfer.language.past import Past
from lightning_transfer.language.score import choice_scores
from lightning_transfer.language.shared import SharedPast, buckets, common_beginning, packs

FRONT = "Review: A great film with a great cast. Sentiment: positive\n\n"
CONTEXTS = ["Review: bad and dull. Sentiment:", "Review: It was great, a great cast, a great film. Sentiment:"]


def _slow(model, context, choice):
    """Token by token over the whole text."""
    ids = model.encode([context + choice])[0]
    start = len(model.encode([context])[0])
    scores = model.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    return sum(scores[i - 1, ids[i]] for i in range(start, len(ids)))


@pytest.mark.parametrize("made", [llama, gpt2])
@pytest.mark.parametrize("words", [[" great", " bad"], [" positive", " negative one", " so so"]])
def test_scores_are_those_of_a_slow_loop(made, words):
    model = made()
    scores = choice_scores(model, CONTEXTS, [words] * 2)
    slow = torch.stack([torch.stack([_slow(model, context, word) for word in words]) for context in CONTEXTS])
    torch.testing.assert_close(scores.log_prob, slow, atol=1e-4, rtol=1e-4)
    assert scores.characters.tolist() == [[*map(len, words)]] * 2


@torch.no_grad()
@pytest.mark.parametrize("words", [[" great", " bad"], [" positive", " negative one"]])
def test_a_shared_front_is_read_once_and_changes_nothing(words, monkeypatch):
    model, kept = llama(), SharedPast()
    plain = choice_scores(model, CONTEXTS, [words] * 2, FRONT)
    shared = choice_scores(model, CONTEXTS, [words] * 2, FRONT, kept)
    torch.testing.assert_close(shared.log_prob, plain.log_prob, atol=1e-4, rtol=1e-4)
    (ids,) = model.encode([FRONT])
    assert len(ids) - 2 <= len(kept.ids) <= len(ids)
    past = kept.past
    choice_scores(model, CONTEXTS[:1], [words], FRONT, kept)
    assert kept.past is past
    kept.forget()
    choice_scores(model, CONTEXTS[:1], [words], FRONT, kept)
    assert kept.past is not past


@torch.no_grad()
@pytest.mark.parametrize("made", [llama, gpt2])
@pytest.mark.parametrize("most", [1, 20, 512])
def test_texts_side_by_side_see_nothing_of_each_other(made, most, monkeypatch):
    monkeypatch.setattr(score, "LONG", 8)
    monkeypatch.setattr(score, "PACKED", most)
    model, words = made(), [[" great", " bad"]] * 5
    contexts = [*CONTEXTS, "So so:", "It was", "Review: a dog. Sentiment:"]
    plain = choice_scores(model, contexts, words, FRONT)
    read, counted = model.read_packed, []
    monkeypatch.setattr(model, "read_packed", lambda texts, past: counted.append(len(texts)) or read(texts, past))
    packed = choice_scores(model, contexts, words, FRONT, SharedPast())
    torch.testing.assert_close(packed.log_prob, plain.log_prob, atol=1e-4, rtol=1e-4)
    assert sum(counted) == 5
    assert (most == 512) == (len(counted) == 1)


@torch.no_grad()
def test_a_prompt_with_weights_of_its_entries_stays_in_front_of_texts_side_by_side():
    model = llama()
    torch.manual_seed(0)
    past = Past(model.read_entries(torch.randn(12, model.num_features)).layers, bias=torch.randn(12))
    texts = model.encode(CONTEXTS)
    packed = model.read_packed(texts, past)
    for row, ids in zip(packed, texts, strict=True):
        alone, _ = model.read(torch.tensor([ids]), torch.tensor([len(ids)]), past)
        torch.testing.assert_close(row, alone[0, -1], atol=1e-4, rtol=1e-4)


def test_a_model_whose_tokens_see_a_window_reads_each_text_apart():
    model = llama()
    assert model.can_pack
    model.model.config.sliding_window = 4
    assert not model.can_pack


def test_gradients_share_nothing():
    model, kept = llama(), SharedPast()
    scores = choice_scores(model, CONTEXTS, [[" great", " bad"]] * 2, FRONT, kept)
    assert kept.past is None
    scores.log_prob.sum().backward()
    assert model.model.get_input_embeddings().weight.grad.abs().sum() > 0


def test_whitespace_at_the_end_of_a_context_belongs_to_the_choice():
    model = llama()
    inside = choice_scores(model, ["It was"], [[" great", " bad"]])
    outside = choice_scores(model, ["It was "], [["great", "bad"]])
    torch.testing.assert_close(outside.log_prob, inside.log_prob)


def test_without_a_context_the_mark_of_a_beginning_stands_alone():
    model = llama()
    ids = model.encode(["great"])[0]
    scores = model.model(input_ids=torch.tensor([[0, *ids]])).logits[0].log_softmax(-1)
    expected = sum(scores[i, token] for i, token in enumerate(ids))
    torch.testing.assert_close(choice_scores(model, [""], [["great"]]).log_prob[0, 0], expected)
    del model.special["begin"], model.special["end"]
    with pytest.raises(ValueError, match="no mark of a beginning"):
        choice_scores(model, [""], [["great"]])


def test_nothing_is_cut():
    model = llama(context=32)
    with pytest.raises(ValueError, match=r"tokens, but the model reads 32; .*nothing is cut"):
        choice_scores(model, ["bad and dull " * 20], [[" great", " bad"]])
    with pytest.raises(ValueError, match="has no token"):
        choice_scores(model, ["It was"], [[" great", ""]])


def test_words_at_a_mask_are_scored_like_the_models_own():
    model = bert()
    before, after = ["It was", "A great film. It was"], [".", ", a dog."]
    scores = word_scores(model, before, after, [" great", " terrible"])
    ids = model.encode(["A great film. It was <mask>, a dog."])[0]
    logits = model.model(input_ids=torch.tensor([ids])).logits[0, ids.index(1)].log_softmax(-1)
    words = [model.encode([word], marks=False)[0] for word in (" great", " terrible")]
    torch.testing.assert_close(scores[1], logits[[word[0] for word in words]], atol=1e-4, rtol=1e-4)
    with pytest.raises(ValueError, match=r"words: 'zyxw' is \d tokens"):
        word_scores(model, before, after, [" great", " zyxw"])
    with pytest.raises(ValueError, match="nothing is cut"):
        word_scores(model, ["bad and dull " * 120], [""], [" great"])


def test_buckets_hold_alike_lengths():
    assert buckets([5, 100, 99, 4, 50], 10_000) == [[1, 2], [4], [0, 3]]
    assert buckets([10, 10, 10], 20) == [[0, 1], [2]]
    assert buckets([30], 20) == [[0]]


def test_packs_are_filled_in_order():
    assert packs([10, 10, 5, 30, 5], 20) == [[0, 1], [2], [3], [4]]
    assert packs([], 20) == []


def test_common_beginning():
    assert common_beginning([[1, 2, 3], [1, 2], [1, 2, 4]]) == 2
    assert common_beginning([[1], [2]]) == 0
