"""Word problems of grade school that people wrote."""

import re
from pathlib import Path
from typing import Any

import torch

from lightning_transfer.contracts import TextRows
from lightning_transfer.data.text import TextData
from lightning_transfer.data.text_table import read_table

_MARK = "####"
_CALCULATOR = re.compile(r"<<.*?>>")


class Gsm8kData(TextData):
    """GSM8K's word problems: a `question`, and a free answer, the number without commas; `reasoning` is for worked examples.

    Args:
        root: folder with `train.jsonl` and `test.jsonl`, from `https://github.com/openai/grade-school-math`.
        kwargs: as for `TextData`.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: for an answer that does not end in `#### NUMBER`, naming file and row.

    Reference:
        Cobbe, Kosaraju, Bavarian, Chen, Jun, Kaiser, Plappert, Tworek, Hilton, Nakano, Hesse, Schulman, "Training Verifiers to Solve Math
        Word Problems", arXiv 2110.14168, 2021.
    """

    task = "generation"

    def __init__(self, root: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.inputs = ["question"]

    @property
    def class_names(self) -> list[str]:
        return []

    def sources(self) -> dict[str, TextRows]:
        return {split: self._rows(self.root / f"{split}.jsonl") for split in ("train", "test")}

    def _rows(self, path: Path) -> TextRows:
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} does not exist; get it from https://github.com/openai/grade-school-math, or set data.root"
            )
        table = read_table(path, "root")
        table.require("root", ("question", "answer"))
        fields, answers = [], []
        rows = zip(table.numbers, table.cells("question"), table.cells("answer"), strict=True)
        for number, question, solution in rows:
            lines, mark, answer = (part.strip() for part in solution.rpartition(_MARK))
            if not mark or not answer:
                raise ValueError(
                    f"{path}, row {number}: the answer ends in {solution[-20:]!r}, not in '{_MARK} NUMBER'"
                )
            fields.append({"question": question, "reasoning": _sentences(lines)})
            answers.append(answer.replace(",", ""))
        return TextRows(fields, torch.full((len(table),), -1), answers, table.names())


def _sentences(lines: str) -> str:
    """A solution in one line, without what a calculator was to fill in; each of its lines is a sentence."""
    found = [" ".join(line.split()) for line in _CALCULATOR.sub("", lines).splitlines() if line.strip()]
    return " ".join(line if line[-1] in ".!?" else f"{line}." for line in found)
