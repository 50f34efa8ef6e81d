"""What asking for a class and asking for a text share: the prompt."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from lightning.pytorch.utilities import rank_zero_warn
from torch import Tensor
from torchmetrics import MetricCollection

from lightning_transfer.contracts import TextBatch, TextRows
from lightning_transfer.demonstrations import Demonstrations
from lightning_transfer.language import LanguageModel
from lightning_transfer.language.shared import SharedPast
from lightning_transfer.parts import Part
from lightning_transfer.tasks import TextTask
from lightning_transfer.templates import fields_of, fill, halves, read_template, unescaped

Fields = Mapping[str, str]
MARGIN = 4  # tokens that a text may have more behind another one than alone


class Prompts(NamedTuple):
    """B prompts of one front.

    Attributes:
        front: the text in front of all of them: instruction and worked examples.
        before: B texts up to the answer.
        after: B texts behind it.
        numbers: B, of the rows in the batch that they were made of.
    """

    front: str
    before: list[str]
    after: list[str]
    numbers: list[int]


class Asking(Part, ABC):
    """Makes prompts: an instruction, worked examples, and the query in a template.

    Args:
        template: of a query, with `{FIELD}` for the data's fields and `{label}` where the answer belongs, behind a space at the end if not said.
        demonstrations: which examples are shown; none without.
        worked: template of a worked example, which may show fields that a query lacks, a reasoning for example; the query's if not given.
        instruction: a text in front of all.
        separator: between instruction, examples and query.

    Raises:
        ValueError: for a template with unknown or without fields.
    """

    task: TextTask

    def __init__(
        self,
        template: str,
        demonstrations: Demonstrations | None = None,
        worked: str | None = None,
        instruction: str = "",
        separator: str = "\n\n",
    ) -> None:
        self.template = read_template(template)
        self.worked = read_template(worked) if worked is not None else self.template
        if worked is not None and demonstrations is None:
            raise ValueError(
                f"worked={worked!r} is the template of demonstrations, and there are none; give some or leave it out"
            )
        self.demonstrations = demonstrations
        self.instruction = unescaped(instruction)
        self.separator = unescaped(separator)
        self.kept = SharedPast()
        self.pool: TextRows | None = None
        self.dropped = 0
        self._fitting: dict[str, int] = {}

    def prepare(self, pool: TextRows | None, class_names: Sequence[str], inputs: Sequence[str]) -> None:
        """Look at the data, before anything is asked.

        Args:
            pool: rows that demonstrations are chosen from.
            class_names: K; none where answers are free.
            inputs: fields that a query shows.

        Raises:
            ValueError: for templates with fields that the data lacks, or demonstrations without a pool.
        """
        shown = [name for name in fields_of(self.template) if name not in inputs]
        if shown:
            raise ValueError(
                f"template={self.template!r} shows {{{shown[0]}}}, but a query of the data has {', '.join(inputs)}; the answer is {{label}}"
            )
        self.forget()
        if self.demonstrations is None:
            return
        if pool is None or not len(pool.fields):
            raise ValueError(
                "demonstrations are chosen from training rows, and the data has none; leave demonstrations out"
            )
        unknown = [name for name in fields_of(self.worked) if name not in pool.fields[0]]
        if unknown:
            raise ValueError(
                f"worked={self.worked!r} shows {{{unknown[0]}}}, but the data has {', '.join(pool.fields[0])}"
            )
        self.pool = pool
        self.demonstrations.prepare(pool, len(class_names), inputs)

    def forget(self) -> None:
        """Drop what belongs to the weights of the moment."""
        self.kept.forget()
        self._fitting.clear()

    def answer_of(self, target: int, answer: str) -> str:
        """How an example's answer is written."""
        return answer

    def prompts(self, model: LanguageModel, fields: Sequence[Fields], reserve: int) -> list[Prompts]:
        """Prompts of queries, grouped by what stands in front of them.

        Whole examples are left out, the first ones first, where a prompt would be too long; the query is never cut.

        Args:
            model: whose context it must fit.
            fields: B queries.
            reserve: tokens that the answer takes.
        """
        first, rest = halves(self.template)
        groups: dict[str, Prompts] = {}
        for number, row in enumerate(fields):
            before, after = fill(first, row), fill(rest, row)
            front = self._front(model, row, before + after, reserve)
            if self.demonstrations is not None and not self.demonstrations.shared:
                front, before = "", front + before
            group = groups.setdefault(front, Prompts(front, [], [], []))
            group.before.append(before)
            group.after.append(after)
            group.numbers.append(number)
        return list(groups.values())

    def _front(self, model: LanguageModel, row: Fields, query: str, reserve: int) -> str:
        parts = [self.instruction] if self.instruction else []
        examples = self._examples(row)
        room = model.room - reserve - MARGIN - self._count(model, query, keep=False)
        while examples and self._count(model, self._joined([*parts, *examples]), keep=True) > room:
            examples = examples[1:]
            self.dropped += 1
            if self.dropped == 1:
                rank_zero_warn(
                    f"prompts of {len(examples) + 1} demonstrations are longer than the {model.context} tokens that the model reads: the first "
                    "ones are left out where they do not fit"
                )
        return self._joined([*parts, *examples])

    def _joined(self, parts: Sequence[str]) -> str:
        return "".join(part + self.separator for part in parts)

    def _count(self, model: LanguageModel, text: str, keep: bool) -> int:
        if text in self._fitting:
            return self._fitting[text]
        count = len(model.encode([text])[0])
        if keep:
            self._fitting[text] = count
        return count

    def _examples(self, row: Fields) -> list[str]:
        if self.demonstrations is None:
            return []
        if self.pool is None:
            raise ValueError("demonstrations have not seen the data yet: call prepare, as the trainer does")
        pool = self.pool
        answers = pool.answer or [""] * len(pool.fields)
        return [
            fill(self.worked, pool.fields[i], self.answer_of(int(pool.target[i]), answers[i]))
            for i in self.demonstrations.choose(row)
        ]

    @abstractmethod
    def build(self, model: LanguageModel, class_names: Sequence[str] | None) -> None:
        """Look at model and classes once, when a module is made.

        Raises:
            ValueError: for what does not go together.
        """

    @abstractmethod
    def metrics(self) -> MetricCollection:
        """What answers are measured by; updated by name with what `measured` gives."""

    @abstractmethod
    def loss(self, model: LanguageModel, batch: TextBatch) -> Tensor:
        """What training makes small, scalar."""

    @abstractmethod
    def measured(self, model: LanguageModel, batch: TextBatch) -> tuple[Tensor | None, dict[str, object]]:
        """The loss of a batch, as far as it has one, and what the metrics compare."""

    @abstractmethod
    def predict(self, model: LanguageModel, batch: TextBatch) -> Tensor | list[dict[str, str]]:
        """Probabilities (B, K), or what was said of each text."""


def stacked(rows: Sequence[tuple[Sequence[int], Tensor]]) -> Tensor:
    """Results of groups in the order of the batch that they were made of."""
    order = torch.tensor([number for numbers, _ in rows for number in numbers])
    return torch.cat([values for _, values in rows])[order.argsort()]
