import json

import pytest
import torch

from lightning_transfer.data import NliData

LABELS = ["entailment", "neutral", "-", "contradiction"]


@pytest.fixture
def root(tmp_path):
    for split in ("train", "dev", "test"):
        rows = [
            {
                "annotator_labels": [label],
                "gold_label": label,
                "sentence1": f"A {split} {i}.",
                "sentence2": f"It is {label}. ",
            }
            for i, label in enumerate(LABELS * 3)
        ]
        (tmp_path / f"snli_1.0_{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_reads_the_files_of_snli_but_undecided_rows(root):
    data = NliData(str(root))
    assert data.class_names == ["entailment", "neutral", "contradiction"]
    rows = data.splits()["val"]
    assert rows.fields[2] == {"premise": "A dev 3.", "hypothesis": "It is contradiction."}
    assert [name.rpartition("/")[2] for name in rows.name[:4]] == ["1", "2", "4", "5"]
    assert rows.target.tolist() == [0, 1, 2] * 3
    assert torch.equal(data.class_counts, torch.tensor([3, 3, 3]))
    counted = data.summary().columns[2]
    assert (counted.header, list(counted.cells)) == ("undecided, left out", ["3", "3", "3"])


def test_bare_sentences_have_no_full_stop(root):
    rows = NliData(str(root), bare=True).splits()["test"]
    assert rows.fields[0] == {"premise": "A test 0", "hypothesis": "It is entailment"}


def test_predicts_pairs_without_labels(root, tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("sentence1,sentence2\nIt rains.,It is wet.\n")
    data = NliData(str(root), predict_path=str(path), bare=True)
    data.setup("predict")
    assert next(iter(data.predict_dataloader())).fields == [{"premise": "It rains", "hypothesis": "It is wet"}]


def test_takes_what_files_there_are(root, tmp_path):
    (tmp_path / "snli_1.0_train.jsonl").unlink()
    assert list(NliData(str(root)).splits()) == ["val", "test"]
    with pytest.raises(
        FileNotFoundError, match=r"has none of snli_1\.0_train\.jsonl, .*data\.train, data\.val, data\.test"
    ):
        NliData("gone").splits()


def test_says_which_label_is_unknown(root):
    (root / "snli_1.0_dev.jsonl").write_text('{"gold_label": "perhaps", "sentence1": "a", "sentence2": "b"}\n')
    with pytest.raises(ValueError, match="row 1: label 'perhaps' in column 'gold_label' is none of entailment"):
        NliData(str(root)).splits()
