"""Pairs of sentences: does the second follow from the first?"""

from pathlib import Path
from typing import Any

from lightning_transfer.contracts import TextRows
from lightning_transfer.data.text import TextData
from lightning_transfer.data.text_table import TextTable, read_table

_CLASSES = ["entailment", "neutral", "contradiction"]
_UNDECIDED = "-"
_COLUMNS = {"premise": "sentence1", "hypothesis": "sentence2"}


class NliData(TextData):
    """Natural language inference in SNLI's files: fields `premise` and `hypothesis`, classes entailment, neutral and contradiction.

    Rows on whose label the annotators did not agree (`-`) are left out, and counted when a training starts. MNLI has the same columns.

    Args:
        root: folder of the files, `https://nlp.stanford.edu/projects/snli/snli_1.0.zip` unpacked.
        train: file name of the training rows; where it is not there, there is no training split, and likewise for the others.
        val: of the validation.
        test: of the test.
        bare: whether the full stop at the end of both sentences is taken away, so that a template can put its own mark there.
        kwargs: as for `TextData`.

    Raises:
        FileNotFoundError: if none of the files is there.
        ValueError: for a missing column, an empty sentence or an unknown label, naming file and row.

    Reference:
        Bowman, Angeli, Potts, Manning, "A large annotated corpus for learning natural language inference", EMNLP 2015.
    """

    def __init__(
        self,
        root: str,
        train: str = "snli_1.0_train.jsonl",
        val: str = "snli_1.0_dev.jsonl",
        test: str = "snli_1.0_test.jsonl",
        bare: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.root = Path(root)
        self.files = {"train": train, "val": val, "test": test}
        self.bare = bare
        self.inputs = list(_COLUMNS)
        self.left_out: dict[str, int] = {}

    @property
    def class_names(self) -> list[str]:
        return list(_CLASSES)

    def columns(self) -> dict[str, str]:
        return dict(_COLUMNS)

    def counted(self) -> dict[str, dict[str, int]]:
        return {"undecided, left out": self.left_out}

    def sources(self) -> dict[str, TextRows]:
        found = {split: self.root / name for split, name in self.files.items() if (self.root / name).is_file()}
        if not found:
            raise FileNotFoundError(
                f"data.root={str(self.root)!r} has none of {', '.join(self.files.values())}; unpack "
                "https://nlp.stanford.edu/projects/snli/snli_1.0.zip there, or name its files: data.train, data.val, data.test"
            )
        return {split: self._rows(split, path) for split, path in found.items()}

    def _rows(self, split: str, path: Path) -> TextRows:
        whole = read_table(path, split, (*_COLUMNS.values(), "gold_label"))
        whole.require(split, (*_COLUMNS.values(), "gold_label"))
        table = whole.where("gold_label", *dict.fromkeys(whole.cells("gold_label")).keys() - {_UNDECIDED})
        self.left_out[split] = len(whole) - len(table)
        numbers = {name: k for k, name in enumerate(_CLASSES)}
        return TextRows(self.fields(table), table.labels("gold_label", numbers), name=table.names())

    def fields(self, table: TextTable) -> list[dict[str, str]]:
        found = super().fields(table)
        if self.bare:
            return [{name: text.removesuffix(".").rstrip() for name, text in row.items()} for row in found]
        return found
