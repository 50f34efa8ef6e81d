import pytest
import torch
from tiny import bert, llama

from lightning_transfer.asking import Choosing
from lightning_transfer.choice_scores import ByteMean, CharacterMean, PointwiseMutualInformation, TokenMean
from lightning_transfer.contracts import TextBatch, TextRows
from lightning_transfer.demonstrations import FixedDemonstrations, RandomDemonstrations, SimilarDemonstrations
from lightning_transfer.language.score import choice_scores
from lightning_transfer.text_encoders import CharacterNGrams

CLASSES = ["negative", "positive"]
POOL = TextRows([{"text": f"A great film {i}."} for i in range(12)], torch.arange(12) % 2)
ROWS = [{"text": "bad and dull"}, {"text": "It was great, a great cast, a great film."}, {"text": "so so"}]


def _built(model, template="{text} It was {label}.", words=("bad", "great"), **options):
    asking = Choosing(template, [*words], **options)
    asking.build(model, CLASSES)
    asking.prepare(POOL, CLASSES, ["text"])
    return asking


def test_scores_are_those_of_the_filled_template():
    model = llama()
    scores = _built(model).logits(model, ROWS)
    expected = choice_scores(model, [f"{row['text']} It was" for row in ROWS], [[" bad", " great"]] * 3).log_prob
    torch.testing.assert_close(scores, expected)


@pytest.mark.parametrize("made", [llama, bert])
def test_swapped_words_swap_answers(made):
    model = made()
    scores = _built(model).logits(model, ROWS)
    swapped = _built(model, words=("great", "bad")).logits(model, ROWS)
    torch.testing.assert_close(scores, swapped.flip(1))


def test_words_by_class_or_the_classes_themselves():
    model = llama()
    by_name = Choosing("{text} It was {label}.", {"positive": "great", "negative": "bad"})
    by_name.build(model, CLASSES)
    assert by_name.said == ["bad", "great"]
    plain = Choosing("{text} It was {label}.")
    plain.build(model, CLASSES)
    assert plain.said == CLASSES


def test_what_follows_the_word_counts_where_it_differs():
    model = llama()
    asking = Choosing("It was {label}, {text}", ["bad", "great"])
    asking.build(model, CLASSES)
    asking.prepare(None, CLASSES, ["text"])
    scores = asking.logits(model, ROWS)
    expected = choice_scores(model, ["It was"] * 3, [[f" bad, {r['text']}", f" great, {r['text']}"] for r in ROWS])
    torch.testing.assert_close(scores, expected.log_prob)


@torch.no_grad()
def test_demonstrations_stand_in_front_and_are_read_once():
    model = llama()
    asking = _built(model, demonstrations=FixedDemonstrations([1, 2]), instruction="Review.", separator="\n")
    front = "Review.\nA great film 1. It was great.\nA great film 2. It was bad.\n"
    expected = choice_scores(model, [f"{front}{row['text']} It was" for row in ROWS], [[" bad", " great"]] * 3)
    torch.testing.assert_close(asking.logits(model, ROWS), expected.log_prob, atol=1e-4, rtol=1e-4)
    assert asking.kept.past is not None


@torch.no_grad()
def test_demonstrations_of_each_querys_own():
    model = llama()
    asking = _built(model, demonstrations=SimilarDemonstrations(2, CharacterNGrams()))
    both = asking.logits(model, ROWS)
    torch.testing.assert_close(both, torch.cat([asking.logits(model, [row]) for row in ROWS]), atol=1e-4, rtol=1e-4)
    assert asking.predict(model, TextBatch(ROWS, torch.tensor([0, 1, 0]))).shape == (3, 2)
    loss, compared = asking.measured(model, TextBatch(ROWS, torch.tensor([0, 1, 0])))
    assert torch.isfinite(compared["calibrated"]).all()
    assert loss > 0


def test_whole_demonstrations_are_left_out_and_the_query_never():
    model = llama(context=80)
    asking = _built(model, demonstrations=RandomDemonstrations(8))
    with pytest.warns(UserWarning, match="longer than the 80 tokens"):
        asking.logits(model, ROWS)
    (group,) = {g.front for g in asking.prompts(model, ROWS[:1], 4)}
    assert 0 < group.count("It was") < 8
    assert group.startswith("A great film")
    with pytest.raises(ValueError, match="nothing is cut"):
        asking.logits(model, [{"text": "bad and dull " * 30}])


@torch.no_grad()
def test_calibration_makes_texts_without_content_uniform_and_moves_all_alike():
    model = llama()
    asking = _built(model, calibrate=True, without_content=["N/A"])
    batch = TextBatch([*ROWS, {"text": "N/A"}], torch.tensor([0, 1, 0, -1]))
    torch.testing.assert_close(asking.predict(model, batch)[3], torch.tensor([0.5, 0.5]))
    _, compared = asking.measured(model, batch)
    moved = compared["preds"] - compared["calibrated"]
    torch.testing.assert_close(moved, moved[:1].expand(3, 2))
    assert len(compared["target"]) == 3


def test_length_scores():
    model = llama()
    words = ("bad", "so so great")
    total = choice_scores(model, [f"{row['text']} It was" for row in ROWS], [[f" {word}" for word in words]] * 3)
    for score, lengths in (
        (TokenMean(), total.tokens),
        (CharacterMean(), torch.tensor([[4, 12]])),
        (ByteMean(), torch.tensor([[4, 12]])),
    ):
        found = _built(model, words=words, score=score).logits(model, ROWS)
        # the space belongs to the choice as the template's
        bare = lengths - (0 if isinstance(score, TokenMean) else 1)
        torch.testing.assert_close(found, total.log_prob / bare)
    found = _built(model, words=words, score=PointwiseMutualInformation("It was")).logits(model, ROWS)
    alone = choice_scores(model, ["It was"], [[f" {word}" for word in words]]).log_prob
    torch.testing.assert_close(found, total.log_prob - alone)


def test_a_masked_model_is_asked_at_its_mask():
    model = bert()
    asking = _built(model)
    assert asking.logits(model, ROWS).shape == (3, 2)
    with pytest.raises(ValueError, match=r"'so so' is \d tokens"):
        _built(model, words=("so so", "great"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("great", "great"), "'great' stands for two classes"),
        (("great", " "), "is empty"),
        (("great",), "are 1, but there are 2 classes"),
        (("a", "a b"), "begin with the same tokens"),
    ],
)
def test_words_that_do_not_do(words, message):
    with pytest.raises(ValueError, match=message):
        _built(llama(), words=words)


def test_templates_and_data_that_do_not_fit():
    model = llama()
    with pytest.raises(ValueError, match="words names the class 'neutral'"):
        Choosing("{text}", {"neutral": "so"}).build(model, CLASSES)
    with pytest.raises(ValueError, match=r"shows \{title\}, but a query of the data has text"):
        _built(model, template="{title} was {label}")
    with pytest.raises(ValueError, match="is the template of demonstrations, and there are none"):
        Choosing("{text}", worked="{text} {label}")
    asking = Choosing("{text}", demonstrations=RandomDemonstrations(2))
    with pytest.raises(ValueError, match="data has none"):
        asking.prepare(None, CLASSES, ["text"])
    with pytest.raises(ValueError, match="calibrate=true"):
        Choosing("{text}", calibrate=True, without_content=[])


def test_training_moves_the_model():
    model = llama()
    asking = _built(model)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    batch = TextBatch(ROWS, torch.tensor([0, 1, 0]))
    first = asking.loss(model, batch)
    for _ in range(8):
        loss = asking.loss(model, batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5 * first
