import pytest
import torch

from lightning_transfer.contracts import TextRows
from lightning_transfer.demonstrations import FixedDemonstrations, RandomDemonstrations, SimilarDemonstrations
from lightning_transfer.text_encoders import CharacterNGrams

POOL = TextRows([{"text": f"text {i}"} for i in range(20)], torch.tensor([i % 2 for i in range(15)] + [1] * 5))
OTHER = {"text": "something else"}


def _prepared(demonstrations, pool=POOL, classes=2):
    demonstrations.prepare(pool, classes, ["text"])
    return demonstrations


@pytest.mark.parametrize("order", ["random", "grouped", "alternating"])
def test_balanced_draws_in_their_order(order):
    chosen = _prepared(RandomDemonstrations(6, order=order)).choose(OTHER)
    classes = POOL.target[chosen].tolist()
    assert sorted(classes) == [0, 0, 0, 1, 1, 1]
    if order == "grouped":
        assert classes == sorted(classes)
    if order == "alternating":
        assert classes == [0, 1] * 3


def test_a_seed_draws_the_same_and_more_are_further_ones():
    four = _prepared(RandomDemonstrations(4, seed=3)).choose(OTHER)
    assert _prepared(RandomDemonstrations(4, seed=3)).choose(OTHER) == four
    assert _prepared(RandomDemonstrations(4, seed=4)).choose(OTHER) != four
    assert {*four} < {*_prepared(RandomDemonstrations(8, seed=3)).choose(OTHER)}


def test_a_query_is_never_its_own_demonstration():
    for made in (RandomDemonstrations(6, balanced=False), SimilarDemonstrations(6, CharacterNGrams())):
        demonstrations = _prepared(made)
        for i in range(20):
            chosen = demonstrations.choose({"text": f"Text  {i}"})
            assert i not in chosen
            assert len({*chosen}) == 6
    fixed = _prepared(FixedDemonstrations([3, 1]))
    assert fixed.choose(OTHER) == [3, 1]
    assert fixed.choose({"text": "text 3"}) == [1]


def test_free_answers_have_no_balance():
    pool = TextRows([{"text": str(i)} for i in range(5)], torch.full((5,), -1), ["a"] * 5)
    assert len(_prepared(RandomDemonstrations(3), pool, 0).choose(OTHER)) == 3


def test_the_most_similar_stands_last():
    pool = TextRows(
        [{"text": text} for text in ("a blue whale", "trains and cars", "a blue whale!")], torch.tensor([0, 1, 0])
    )
    similar = _prepared(SimilarDemonstrations(2, CharacterNGrams()), pool)
    assert similar.choose({"text": "blue whale"}) in ([2, 0], [0, 2])
    assert similar.choose({"text": "trains and a car"})[-1] == 1
    assert not similar.shared


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomDemonstrations(0), "count=0"),
        (lambda: RandomDemonstrations(2, order="sorted"), "order='sorted'"),
        (lambda: _prepared(RandomDemonstrations(20)), "at most 19"),
        (lambda: SimilarDemonstrations(0), "count=0"),
        (lambda: _prepared(SimilarDemonstrations(20, CharacterNGrams())), "at most 19"),
        (lambda: SimilarDemonstrations(2, CharacterNGrams()).choose(OTHER), "call prepare"),
        (lambda: FixedDemonstrations([]), r"rows=\[\]"),
        (lambda: FixedDemonstrations([1, 1]), "1 is given twice"),
        (lambda: _prepared(FixedDemonstrations([20])), "20 is none of the 20 training rows"),
    ],
)
def test_refuses(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_rows_that_say_what_the_query_does_are_not_shown_even_where_no_others_are_left():
    texts = ("A film", "a  film", "b", "c", "d")
    pool = TextRows([{"text": text} for text in texts], torch.tensor([0, 0, 1, 1, 0]))
    for made in (RandomDemonstrations(4), SimilarDemonstrations(4, CharacterNGrams())):
        assert {*_prepared(made, pool).choose({"text": "a film"})} == {2, 3, 4}
