import random
import re

import pytest

from lightning_transfer.data import WordProblemData
from lightning_transfer.data.problem_templates import ONE_STEP, TWO_STEPS, Template
from lightning_transfer.data.word_problems import draw_problem

EQUATION = re.compile(r"([\d(][\d+*() -]*?) = (\d+)")


@pytest.mark.parametrize("steps", [1, 2])
def test_every_equation_is_right_and_the_last_is_the_answer(steps):
    rows = WordProblemData(steps, count=240).sources()["train"]
    for fields, answer in zip(rows.fields, rows.answer, strict=True):
        ((term, result),) = EQUATION.findall(fields["equation"])
        chain = EQUATION.findall(fields["reasoning"])
        assert len(chain) == steps == len(re.findall(r"[+*-]", term))
        assert all(eval(left) == int(right) for left, right in [(term, result), *chain])
        assert chain[-1][1] == result == answer
        assert int(answer) >= 0
        assert fields["reasoning"].endswith(f"= {answer}.")
        if steps == 1:
            assert f"{term} = {result}." in fields["reasoning"]


@pytest.mark.parametrize("steps", [1, 2])
def test_problems_differ_and_come_from_the_seed(steps):
    rows, again, other = (WordProblemData(steps, 200, seed).sources()["train"] for seed in (0, 0, 1))
    questions = [fields["question"] for fields in rows.fields]
    assert len(set(questions)) == 200
    assert rows.fields == again.fields != other.fields
    more = WordProblemData(steps, 300).sources()["train"]
    assert more.fields[:200] == rows.fields


def test_operations_are_alike_frequent():
    rows = WordProblemData(1, count=120).sources()["train"]
    signs = [fields["equation"].split()[1] for fields in rows.fields]
    assert [signs.count(sign) for sign in "+-*"] == [40, 40, 40]
    assert (len(ONE_STEP), len(TWO_STEPS)) == (12, 8)


@pytest.mark.parametrize("template", [*ONE_STEP, *TWO_STEPS])
def test_grammar(template):
    generator = random.Random(0)
    for _ in range(60):
        problem = draw_problem(template, generator)
        for text in (problem.question, problem.reasoning):
            assert not re.search(r"[{}]|\b(a|A) [aeiou]|\b1 (\w+s|people|geese)\b|  ", text), text
            assert all(sentence[0].isupper() or sentence[0].isdigit() for sentence in re.split(r"(?<=[.?]) ", text))
        assert problem.question.endswith("?")
        assert not {"He", "he"} & {*problem.question.split()} or not {"She", "she"} & {*problem.question.split()}


def test_one_is_singular():
    template = Template({"a": (1, 2)}, ["r = a + a"], "{a_box} and {r_box}", "", {"box": [("box", "boxes")]})
    found = {draw_problem(template, random.Random(seed)).question for seed in range(20)}
    assert found == {"1 box and 2 boxes", "2 boxes and 4 boxes"}


def test_brackets_stand_where_they_are_needed():
    for steps, equation in (
        (["m = a + b", "r = m * c"], "(2 + 3) * 4 = 20"),
        (["m = a * b", "r = m + c"], "2 * 3 + 4 = 10"),
        (["m = b - a", "r = c - m"], "4 - (3 - 2) = 3"),
        (["m = b + c", "r = m - a"], "3 + 4 - 2 = 5"),
    ):
        template = Template({"a": (2, 2), "b": (3, 3), "c": (4, 4)}, steps, "", "", {})
        assert draw_problem(template, random.Random(0)).equation == equation


def test_is_data_for_free_answers():
    data = WordProblemData(2, count=40, test_rows=5)
    assert (data.task, data.class_names, data.inputs) == ("generation", [], ["question"])
    assert {name: len(rows.answer) for name, rows in data.splits().items()} == {"train": 29, "val": 3, "test": 5}
    data.setup("test")
    (batch,) = data.test_dataloader()
    assert list(batch.answer) == list(data.splits()["test"].answer)


def test_refuses_values_out_of_range(monkeypatch):
    with pytest.raises(ValueError, match="steps=3 must be 1 or 2"):
        WordProblemData(3)
    with pytest.raises(ValueError, match="count=0 must be at least 1"):
        WordProblemData(count=0)
    few = Template({"a": (2, 3)}, ["r = a + a"], "What is twice {a}?", "{a} + {a} = {r}.", {})
    monkeypatch.setattr("lightning_transfer.data.word_problems._TEMPLATES", {1: (few,)})
    with pytest.raises(ValueError, match="count=3, but there are hardly more than 2 such problems"):
        WordProblemData(count=3).sources()
