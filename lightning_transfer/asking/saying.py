"""Asking for a text: what the model says, and the answer in it."""

from collections.abc import Sequence

import torch
from lightning.pytorch.utilities import rank_zero_info
from torch import Tensor
from torchmetrics import MetricCollection

from lightning_transfer.asking.base import Asking, Fields
from lightning_transfer.contracts import TextBatch
from lightning_transfer.demonstrations import Demonstrations
from lightning_transfer.extraction import Extraction, FirstLine
from lightning_transfer.extraction.vote import majority
from lightning_transfer.language import LanguageModel
from lightning_transfer.language.generate import generate
from lightning_transfer.language.score import choice_scores
from lightning_transfer.language.shared import SharedPast
from lightning_transfer.metrics.text import saying_metrics
from lightning_transfer.tasks import TextTask
from lightning_transfer.templates import fields_of, fill, halves, unescaped

SHOWN = 3  # answers without an answer, in the log


class Saying(Asking):
    """Answer with what the model says behind the prompt, of which `extraction` takes the answer.

    With worked examples that reason before they answer this is chain of thought; with several samples the most frequent answer wins
    (self-consistency). Training teaches what a worked example says behind the query.

    Args:
        template: of a query, with `{label}` where the answer belongs, which must be its end; behind a space there if not said.
        extraction: finds the answer in what was said; the first line if not given.
        max_new_tokens: of what is said.
        stop: what is said ends before the first of these; the separator if not given.
        temperature: 0 takes the likeliest token each time; above 0 tokens are drawn.
        samples: answers that vote; more than one needs a temperature.
        seed: of the draws.
        conclusion: put behind what was said, to be answered once more, "Therefore, the answer is" for example: the second step of zero-shot
            chain of thought; none leaves it out.
        demonstrations: which examples are shown; none without.
        worked: template of a worked example; the query's if not given.
        instruction: a text in front of all.
        separator: between instruction, examples and query.

    Raises:
        ValueError: for values out of range, or a template that goes on behind the answer.

    Reference:
        Wei et al., "Chain-of-Thought Prompting Elicits Reasoning in Large Language Models", NeurIPS 2022; Wang et al., "Self-Consistency
        Improves Chain of Thought Reasoning in Language Models", ICLR 2023; Kojima et al., "Large Language Models are Zero-Shot Reasoners",
        NeurIPS 2022.
    """

    task: TextTask = "generation"

    def __init__(
        self,
        template: str,
        extraction: Extraction | None = None,
        max_new_tokens: int = 64,
        stop: list[str] | None = None,
        temperature: float = 0.0,
        samples: int = 1,
        seed: int = 0,
        conclusion: str | None = None,
        demonstrations: Demonstrations | None = None,
        worked: str | None = None,
        instruction: str = "",
        separator: str = "\n\n",
    ) -> None:
        super().__init__(template, demonstrations, worked, instruction, separator)
        if fields_of(halves(self.template)[1]):
            raise ValueError(f"template={template!r} goes on behind {{label}}, but what is said stands at the end")
        if max_new_tokens < 1 or samples < 1:
            raise ValueError(f"max_new_tokens={max_new_tokens} and samples={samples} must be at least 1")
        if temperature < 0 or (samples > 1 and temperature == 0):
            raise ValueError(
                f"temperature={temperature} must be at least 0, and above it for samples={samples} to differ; 0.5 to 1 are common"
            )
        self.extraction = extraction or FirstLine()
        self.max_new_tokens = max_new_tokens
        self.stop = [self.separator] if stop is None and separator else [unescaped(mark) for mark in stop or ()]
        self.temperature, self.samples, self.seed = temperature, samples, seed
        self.conclusion = conclusion
        self.shown = 0

    def build(self, model: LanguageModel, class_names: Sequence[str] | None) -> None:
        if model.masked:
            raise ValueError(
                "asking=Saying lets the model go on, which a masked language model does not; take Choosing, or a causal model"
            )

    def forget(self) -> None:
        super().forget()
        self.shown = 0

    def metrics(self) -> MetricCollection:
        return saying_metrics(several=self.samples > 1)

    def loss(self, model: LanguageModel, batch: TextBatch) -> Tensor:
        wanted = [self._wanted(row, answer) for row, answer in zip(batch.fields, batch.answer, strict=True)]
        log_prob, tokens = [], []
        for group in self.prompts(model, batch.fields, max(len(row) for row in model.encode(wanted))):
            choices = [[wanted[i]] for i in group.numbers]
            scores = choice_scores(model, group.before, choices, group.front, self._kept())
            log_prob.append(scores.log_prob.sum())
            tokens.append(scores.tokens.sum())
        return -torch.stack(log_prob).sum() / torch.stack(tokens).sum()

    def _wanted(self, row: Fields, answer: str) -> str:
        """What a worked example says behind the query, with the mark that ends it."""
        query = fill(halves(self.template)[0], row)
        whole = fill(self.worked, row, answer)
        if not whole.startswith(query.rstrip()):
            raise ValueError(
                f"worked={self.worked!r} does not begin with the query of template={self.template!r}, so that what it says behind it is "
                "not to be found; training needs that"
            )
        return whole[len(query.rstrip()) :].removeprefix(query[len(query.rstrip()) :]) + (
            self.stop[0] if self.stop else ""
        )

    def measured(self, model: LanguageModel, batch: TextBatch) -> tuple[Tensor | None, dict[str, object]]:
        if len(batch.answer) != len(batch.fields):
            raise ValueError(
                "asking=Saying compares texts, but the data has classes and no answers; take Choosing, or data with answers"
            )
        said = self.say(model, batch.fields)
        parsed = [[self.extraction(text) for text in texts] for texts in said]
        self._show(said, parsed)
        answers = [majority(each) for each in parsed]
        known = all(
            name in batch.fields[0] for name in fields_of(self.worked)
        )  # a test may lack what only examples show
        return self.loss(model, batch) if known else None, {
            "said": answers,
            "samples": parsed,
            "answer": [*batch.answer],
        }

    def predict(self, model: LanguageModel, batch: TextBatch) -> list[dict[str, str]]:
        rows = []
        for texts in self.say(model, batch.fields):
            answer = majority([self.extraction(text) for text in texts])
            rows.append({"answer": "" if answer is None else answer, "said": texts[0]})
        return rows

    @torch.no_grad()
    def say(self, model: LanguageModel, fields: Sequence[Fields]) -> list[list[str]]:
        """What the model says of each of B queries, `samples` times."""
        said: list[list[str]] = [[] for _ in fields]
        for group in self.prompts(model, fields, self.max_new_tokens):
            texts = self._go_on(model, group.before, group.front)
            if self.conclusion is not None:
                texts = self._conclude(model, group.before, group.front, texts)
            for number, each in zip(group.numbers, texts, strict=True):
                said[number] = each
        return said

    def _go_on(self, model: LanguageModel, prompts: Sequence[str], front: str) -> list[list[str]]:
        options = (self.max_new_tokens, self.stop, self.temperature, self.samples, self.seed)
        return generate(model, prompts, *options, front=front, kept=self._kept())

    def _conclude(
        self, model: LanguageModel, prompts: Sequence[str], front: str, texts: list[list[str]]
    ) -> list[list[str]]:
        """Ask for the answer behind each reasoning; both are what was said."""
        asked = [
            f"{prompt}{text.rstrip()} {self.conclusion}"
            for prompt, each in zip(prompts, texts, strict=True)
            for text in each
        ]
        last = generate(model, asked, self.max_new_tokens, self.stop, front=front, kept=self._kept())
        said = [f"{self.conclusion}{end}" for (end,) in last]
        return [said[i : i + self.samples] for i in range(0, len(said), self.samples)]

    def _kept(self) -> SharedPast | None:
        return self.kept if self.demonstrations is None or self.demonstrations.shared else None

    def _show(self, said: list[list[str]], parsed: list[list[str | None]]) -> None:
        for texts, answers in zip(said, parsed, strict=True):
            for text, answer in zip(texts, answers, strict=True):
                if answer is None and self.shown < SHOWN:
                    self.shown += 1
                    rank_zero_info(f"no answer found by {type(self.extraction).__name__} in {text[:200]!r}")
