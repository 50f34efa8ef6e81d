"""Asking for one of some classes: by how likely their words are."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torchmetrics import MetricCollection

from lightning_transfer.asking.base import Asking, stacked
from lightning_transfer.asking.words import check_words, words_of
from lightning_transfer.choice_scores import ChoiceScore, TotalScore
from lightning_transfer.contracts import TextBatch
from lightning_transfer.demonstrations import Demonstrations
from lightning_transfer.language import LanguageModel
from lightning_transfer.language.fill import word_scores
from lightning_transfer.language.score import Scores, choice_scores
from lightning_transfer.language.shared import SharedPast
from lightning_transfer.metrics.asked import choosing_metrics
from lightning_transfer.tasks import TextTask
from lightning_transfer.templates import fields_of, fill, halves

WITHOUT_CONTENT = ("N/A", "", "[MASK]")


class Choosing(Asking):
    """Answer with the class whose word the model finds likeliest behind the prompt, or at its mask.

    Raw scores lean towards words that are likely whatever is asked. Contextual calibration asks texts without content, too, and divides by
    what they are answered with.

    Args:
        template: of a query, with `{label}` where the word belongs; behind a space at the end if not said.
        words: of the classes, in their order or by their names; the classes' names if not given. A masked model's are one token each.
        score: compares words of several tokens; the probability of the whole word if not given.
        calibrate: whether answers are the calibrated ones; both are measured, as `accuracy` and `accuracy_calibrated`.
        without_content: texts in the place of every field that calibration asks; none leaves it out.
        demonstrations: which examples are shown; none without.
        worked: template of a worked example; the query's if not given.
        instruction: a text in front of all.
        separator: between instruction, examples and query.

    Raises:
        ValueError: for words or templates that do not do.

    Reference:
        Schick, Schütze, "Exploiting Cloze-Questions for Few-Shot Text Classification and Natural Language Inference", EACL 2021; Gao, Fisch,
        Chen, "Making Pre-trained Language Models Better Few-shot Learners", ACL 2021, section 4; calibration: Zhao, Wallace, Feng, Klein,
        Singh, "Calibrate Before Use", ICML 2021, section 5.
    """

    task: TextTask = "classification"

    def __init__(
        self,
        template: str,
        words: list[str] | dict[str, str] | None = None,
        score: ChoiceScore | None = None,
        calibrate: bool = False,
        without_content: list[str] | None = None,
        demonstrations: Demonstrations | None = None,
        worked: str | None = None,
        instruction: str = "",
        separator: str = "\n\n",
    ) -> None:
        super().__init__(template, demonstrations, worked, instruction, separator)
        self.words = words
        self.score = score or TotalScore()
        self.without_content = list(WITHOUT_CONTENT if without_content is None else without_content)
        if calibrate and not self.without_content:
            raise ValueError("calibrate=true asks texts without content, but without_content=[] has none; 'N/A' is one")
        self.calibrate = calibrate
        self.said: list[str] = []
        self.class_names: list[str] = []
        self._priors: dict[str, Tensor] = {}

    def build(self, model: LanguageModel, class_names: Sequence[str] | None) -> None:
        self.said = words_of(self.words, class_names)
        self.class_names = list(class_names or self.said)
        if model.masked and not isinstance(self.score, TotalScore):
            raise ValueError(
                f"score={type(self.score).__name__} compares lengths, but at a mask every word is one token; leave it out"
            )
        if model.tokenizer is not None:  # a checkpoint is about to bring its own, and was checked before
            check_words(model, self.template, self.said)

    def forget(self) -> None:
        super().forget()
        self._priors.clear()

    def answer_of(self, target: int, answer: str) -> str:
        return self.said[target]

    def metrics(self) -> MetricCollection:
        return choosing_metrics(self.class_names, calibrated=bool(self.without_content))

    def logits(self, model: LanguageModel, fields: Sequence[Mapping[str, str]]) -> Tensor:
        """Scores (B, K) of the classes, raw."""
        return self._both(model, fields, calibrated=False)[0]

    def loss(self, model: LanguageModel, batch: TextBatch) -> Tensor:
        return cross_entropy(self.logits(model, batch.fields), batch.target, ignore_index=-1)

    def measured(self, model: LanguageModel, batch: TextBatch) -> tuple[Tensor | None, dict[str, object]]:
        raw, calibrated = self._both(model, batch.fields, bool(self.without_content))
        loss = cross_entropy(raw, batch.target, ignore_index=-1)
        known = batch.target >= 0
        return loss, {"preds": raw[known], "calibrated": calibrated[known], "target": batch.target[known]}

    def predict(self, model: LanguageModel, batch: TextBatch) -> Tensor:
        raw, calibrated = self._both(model, batch.fields, self.calibrate)
        return (calibrated if self.calibrate else raw).softmax(dim=-1)

    def _both(
        self, model: LanguageModel, fields: Sequence[Mapping[str, str]], calibrated: bool
    ) -> tuple[Tensor, Tensor]:
        """Raw and calibrated logits (B, K); raw ones twice where they are not to be calibrated."""
        raw, priors = [], []
        shared = self.demonstrations is None or self.demonstrations.shared
        reserve = max(len(row) for row in model.encode(self.said, marks=False))
        for group in self.prompts(model, fields, reserve):
            raw.append((group.numbers, self._scores(model, group.front, group.before, group.after, shared)))
            if calibrated and shared:
                priors.append((group.numbers, self._prior(model, group.front).expand(len(group.numbers), -1)))
            elif calibrated:  # each has examples of its own in front of it
                first, _ = halves(self.template)
                fronts = [
                    text.removesuffix(fill(first, fields[i]))
                    for text, i in zip(group.before, group.numbers, strict=True)
                ]
                priors.append((group.numbers, torch.cat([self._prior(model, front) for front in fronts])))
        logits = stacked(raw)
        return logits, logits - stacked(priors) if calibrated else logits

    def _prior(self, model: LanguageModel, front: str) -> Tensor:
        """Logarithm (1, K) of the mean probability of each class, of the words of all classes, where nothing is asked."""
        if front not in self._priors:
            rows = [dict.fromkeys(fields_of(self.template), text) for text in self.without_content]
            first, rest = halves(self.template)
            before, after = [fill(first, row) for row in rows], [fill(rest, row) for row in rows]
            scores = self._scores(model, front, before, after, shared=True)
            prior = scores.float().softmax(dim=-1).mean(dim=0, keepdim=True).log()
            if torch.is_grad_enabled():
                return prior
            self._priors[front] = prior
        return self._priors[front]

    def _scores(
        self, model: LanguageModel, front: str, before: Sequence[str], after: Sequence[str], shared: bool
    ) -> Tensor:
        if model.masked:
            space = " " if before[0].endswith(" ") else ""
            bare = [front + text.removesuffix(" ") for text in before]
            return word_scores(model, bare, after, [space + word for word in self.said])
        # what follows the word counts where it differs from query to query
        counted = bool(fields_of(halves(self.template)[1]))
        choices = [[word + (rest if counted else "") for word in self.said] for rest in after]
        kept = self.kept if shared else None
        scores = choice_scores(model, before, choices, front, kept)
        return self.score(scores, self._unconditional(model, choices))

    def _unconditional(self, model: LanguageModel, choices: Sequence[Sequence[str]]) -> Tensor | None:
        premise = self.score.premise
        if premise is None:
            return None
        space = " " if premise and halves(self.template)[0].endswith((" ", "\n")) else ""
        alone: Scores = choice_scores(model, [premise + space] * len(choices), choices, kept=SharedPast())
        return alone.log_prob
