"""Arithmetic word problems in the style of grade school, made by a seed."""

import operator
import random
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from lightning_transfer.contracts import TextRows
from lightning_transfer.data.problem_templates import NAMES, ONE_STEP, TWO_STEPS, Template
from lightning_transfer.data.text import TextData

_TEMPLATES = {1: ONE_STEP, 2: TWO_STEPS}
_OPERATIONS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
_TRIES = 1000  # draws without a new problem, after which there are thought to be no more


class WordProblemData(TextData):
    """Arithmetic word problems with whole numbers: a `question`, and a free answer, the number as digits.

    For worked examples there are the fields `equation` ("5 + 2 * 3 = 11") and `reasoning`, a few sentences that end in the last equation,
    before an answer is pronounced. Templates take turns; so adding, subtracting and multiplying are alike frequent in one step.

    Args:
        steps: operations that a problem takes, 1 or 2.
        count: how many problems there are, no two alike.
        seed: of the problems.
        kwargs: as for `TextData`.

    Raises:
        ValueError: for values out of range.

    Example:
        >>> rows = WordProblemData(steps=2, count=8).sources()["train"]
        >>> rows.fields[0]["equation"], rows.answer[0]
        ('14 + 5 * 2 = 24', '24')
    """

    task = "generation"

    def __init__(self, steps: int = 1, count: int = 400, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if steps not in _TEMPLATES:
            raise ValueError(f"steps={steps} must be 1 or 2")
        if count < 1:
            raise ValueError(f"count={count} must be at least 1; a few hundred are common")
        self.steps, self.count, self.seed = steps, count, seed
        self.inputs = ["question"]

    @property
    def class_names(self) -> list[str]:
        return []

    def sources(self) -> dict[str, TextRows]:
        generator = random.Random(self.seed)
        templates = _TEMPLATES[self.steps]
        found: dict[str, Problem] = {}
        tries = 0
        while len(found) < self.count:
            problem = draw_problem(templates[len(found) % len(templates)], generator)
            tries = 0 if problem.question not in found else tries + 1
            found[problem.question] = problem
            if tries == _TRIES:
                raise ValueError(
                    f"count={self.count}, but there are hardly more than {len(found)} such problems; lower it"
                )
        names = [f"problems/{self.steps}/{i + 1}" for i in range(self.count)]
        fields = [{"question": p.question, "equation": p.equation, "reasoning": p.reasoning} for p in found.values()]
        answers = [p.answer for p in found.values()]
        return {"train": TextRows(fields, torch.full((self.count,), -1), answers, names)}


class Problem(NamedTuple):
    """A word problem, how it is solved, and its answer."""

    question: str
    equation: str
    reasoning: str
    answer: str


def draw_problem(template: Template, generator: random.Random) -> Problem:
    """Put numbers, names and nouns into a template.

    Args:
        template: of the problem.
        generator: of whatever is drawn.
    """
    numbers: dict[str, int] = {}
    while not numbers or min(numbers.values()) < 1:  # nobody gives away more than everything but one
        numbers = {letter: generator.randint(*bounds) for letter, bounds in template.numbers.items()}
        terms = {letter: str(number) for letter, number in numbers.items()}
        for step in template.steps:
            result, _, left, sign, right = step.split()
            numbers[result] = _OPERATIONS[sign](numbers[left], numbers[right])
            terms[result] = f"{_within(terms[left], sign, False)} {sign} {_within(terms[right], sign, True)}"
    words = _persons(generator) | _things(template, numbers, generator)
    question, reasoning = (text.format_map(words) for text in (template.question, template.reasoning))
    return Problem(question, f"{terms['r']} = {numbers['r']}", reasoning, str(numbers["r"]))


def _within(term: str, sign: str, behind: bool) -> str:
    """A term beside a sign, in brackets where it would be read otherwise."""
    sums = " + " in term or " - " in term
    return f"({term})" if sums and (behind or sign == "*") else term


def _persons(generator: random.Random) -> dict[str, str]:
    he = generator.choice(sorted(NAMES))
    name = generator.choice(NAMES[he])
    other = generator.choice([known for names in NAMES.values() for known in names if known != name])
    return {"name": name, "he": he, "He": he.capitalize(), "other": other}


def _things(template: Template, numbers: Mapping[str, int], generator: random.Random) -> dict[str, str]:
    """Numbers, nouns, and both together."""
    words = {letter: str(number) for letter, number in numbers.items()}
    for kind, nouns in template.nouns.items():
        one, many = generator.choice(nouns)
        words |= {kind: one, f"{kind}s": many}
        words |= {f"{letter}_{kind}": f"{number} {one if number == 1 else many}" for letter, number in numbers.items()}
    return words
