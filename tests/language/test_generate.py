import pytest
import torch
from tiny import gpt2, llama

from lightning_transfer.language.generate import generate
from lightning_transfer.language.shared import SharedPast

PROMPTS = ["It was", "A great film with a great cast. It", "Question: what is it? Answer:"]


def _greedy(model, prompt, count):
    ids = model.encode([prompt])[0]
    start = len(ids)
    while len(ids) < start + count and (len(ids) == start or ids[-1] != 0):
        ids.append(int(model.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return model.decode(ids[start:])


@pytest.mark.parametrize("made", [llama, gpt2])
def test_a_batch_goes_on_as_a_slow_loop_does(made):
    model = made()
    said = generate(model, PROMPTS, max_new_tokens=12)
    assert [one for (one,) in said] == [_greedy(model, prompt, 12) for prompt in PROMPTS]


def test_a_shared_front_changes_nothing():
    model, kept = llama(), SharedPast()
    front = "Review: the good, the bad and the ugly.\nSentiment: positive\n\n"
    plain = generate(model, PROMPTS, max_new_tokens=8, front=front)
    assert generate(model, PROMPTS, max_new_tokens=8, front=front, kept=kept) == plain
    assert kept.past is not None


def test_an_answer_ends_before_a_stop():
    model = llama()
    (whole,) = generate(model, PROMPTS[:1], max_new_tokens=12)[0]
    stop = whole[4:6]
    (cut,) = generate(model, PROMPTS[:1], max_new_tokens=12, stop=[stop])[0]
    assert cut == whole[: whole.index(stop)]


def test_draws_belong_to_a_prompt_and_a_seed():
    model = llama()
    drawn = generate(model, PROMPTS, 6, temperature=1.0, samples=3)
    assert generate(model, PROMPTS, 6, temperature=1.0, samples=3) == drawn
    assert generate(model, PROMPTS[1:2], 6, temperature=1.0, samples=3) == drawn[1:2]
    assert generate(model, PROMPTS, 6, temperature=1.0, samples=3, seed=1) != drawn
    assert len({*drawn[0]}) > 1


def test_draws_follow_the_models_probabilities():
    model = llama()
    share = model.model(input_ids=torch.tensor([model.encode(["It was"])[0]])).logits[0, -1].softmax(-1)
    token = int(share.argmax())
    said = generate(model, ["It was"], 1, temperature=1.0, samples=400)[0]
    observed = sum(word == model.decode([token]) for word in said) / 400
    assert observed == pytest.approx(share[token].item(), abs=4 * (share[token] / 400).sqrt().item())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"samples": 2}, "would all be the same"),
        ({"max_new_tokens": 300}, "nothing is cut"),
    ],
)
def test_values_out_of_range(options, message):
    with pytest.raises(ValueError, match=message):
        generate(llama(), PROMPTS, **options)


def test_an_empty_prompt_is_refused():
    with pytest.raises(ValueError, match="no token"):
        generate(llama(), [""])
