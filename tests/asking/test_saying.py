import pytest
import torch
from tiny import bert, llama

from lightning_transfer.asking import Saying
from lightning_transfer.contracts import TextBatch, TextRows
from lightning_transfer.demonstrations import FixedDemonstrations
from lightning_transfer.extraction import AnswerPhrase, WholeText
from lightning_transfer.language.generate import generate
from lightning_transfer.language.score import choice_scores

POOL = TextRows(
    [{"question": "what is it?", "reasoning": "it is."}, {"question": "so so?", "reasoning": "no."}],
    torch.tensor([-1, -1]),
    ["a dog", "3"],
)
ROWS = [{"question": "Is it a dog?"}, {"question": "what is a great film?"}]


def _built(model, **options):
    asking = Saying(**{"template": "Question: {question} Answer: {label}", "max_new_tokens": 8} | options)
    asking.build(model, None)
    asking.prepare(POOL, [], ["question"])
    return asking


def test_what_is_said_goes_on_from_the_filled_template():
    model = llama()
    said = _built(model, demonstrations=FixedDemonstrations([1]), separator="\n").say(model, ROWS)
    front = "Question: so so? Answer: 3\n"
    expected = generate(model, [f"{front}Question: {row['question']} Answer:" for row in ROWS], 8, ["\n"])
    assert said == expected


def test_worked_examples_may_reason():
    model = llama()
    worked = "Question: {question} Answer: {reasoning} The answer is {label}."
    asking = _built(model, demonstrations=FixedDemonstrations([0]), worked=worked)
    (group,) = asking.prompts(model, ROWS, 8)
    assert group.front == "Question: what is it? Answer: it is. The answer is a dog.\n\n"
    assert group.before[0] == "Question: Is it a dog? Answer: "


def test_training_teaches_what_a_worked_example_says():
    model = llama()
    worked = "Question: {question} Answer: {reasoning} The answer is {label}."
    asking = _built(model, demonstrations=FixedDemonstrations([0]), worked=worked)
    batch = TextBatch([{**POOL.fields[1]}], torch.tensor([-1]), ["3"])
    front = "Question: what is it? Answer: it is. The answer is a dog.\n\n"
    scores = choice_scores(model, [f"{front}Question: so so? Answer:"], [[" no. The answer is 3.\n\n"]])
    torch.testing.assert_close(asking.loss(model, batch), -scores.log_prob[0, 0] / scores.tokens[0, 0])


def test_a_vote_is_measured_and_what_has_no_answer_counted(caplog):
    model = llama()
    asking = _built(model, extraction=AnswerPhrase(), temperature=1.0, samples=3)
    loss, compared = asking.measured(model, TextBatch(ROWS, torch.tensor([-1, -1]), ["3", "4"]))
    metrics = asking.metrics()
    metrics.update(**compared)
    found = metrics.compute()
    assert found["unparsed"] > 0
    assert {*found} == {"exact_match", "unparsed", "exact_match_alone"}
    assert loss > 0
    assert asking.shown > 0


def test_a_conclusion_asks_once_more():
    model = llama()
    asking = _built(model, conclusion="The answer is", extraction=WholeText())
    rows = asking.predict(model, TextBatch(ROWS, torch.tensor([-1, -1])))
    assert all(row["said"].startswith("The answer is") for row in rows)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"template": "{label} is {question}"}, "goes on behind"),
        ({"samples": 2}, "temperature=0.0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"max_new_tokens": 0}, "max_new_tokens=0"),
    ],
)
def test_refuses(options, message):
    with pytest.raises(ValueError, match=message):
        _built(llama(), **options)


def test_what_does_not_go_together():
    with pytest.raises(ValueError, match="a masked language model does not"):
        _built(bert())
    with pytest.raises(ValueError, match="classes and no answers"):
        _built(llama()).measured(llama(), TextBatch(ROWS, torch.tensor([0, 1])))
    asking = _built(llama(), demonstrations=FixedDemonstrations([0]), worked="So: {reasoning} {label}")
    with pytest.raises(ValueError, match="does not begin with the query"):
        asking.loss(llama(), TextBatch([{**POOL.fields[1]}], torch.tensor([-1]), ["3"]))
