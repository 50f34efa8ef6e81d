import csv

import pytest
import torch
from lightning.pytorch import LightningModule

from lightning_transfer.contracts import TextBatch
from lightning_transfer.data import CsvTextData, FolderData, TextData


@pytest.fixture
def write(tmp_path):
    """Writes a table of texts, each with its label."""

    def write(rows, name="rows.csv"):
        with (tmp_path / name).open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *rows])
        return str(tmp_path / name)

    return write


@pytest.fixture
def forty(write):
    return write([(f"Text {i}", "yn"[i % 4 == 0]) for i in range(40)])


class Reader(LightningModule):
    """Writes down which rows it is trained on."""

    def __init__(self):
        super().__init__()
        self.save_hyperparameters({"width": 1})
        self.model, self.read = torch.nn.Linear(1, 1), []

    def training_step(self, batch, batch_idx):
        self.read.append((self.current_epoch, batch.name))
        return self.model.weight.sum()

    def validation_step(self, batch, batch_idx):
        pass

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters())


def names(data, split="train"):
    return set(data.splits()[split].name)


def test_batches_have_fields_targets_names_and_numbers(forty):
    data = CsvTextData(forty, batch_size=3)
    data.setup("test")
    batch, *_, last = data.test_dataloader()
    assert isinstance(batch, TextBatch)
    rows = data.splits()["test"]
    assert (batch.fields, batch.name) == (rows.fields[:3], rows.name[:3])
    assert batch.target.tolist() == rows.target[:3].tolist()
    assert (batch.answer, batch.indices.tolist()) == ((), [0, 1, 2])
    assert last.indices[-1] == len(rows.fields) - 1
    number = int(batch.name[0].rpartition("/")[2])
    assert batch.fields[0] == {"text": f"Text {number - 1}"}
    assert data.class_names[batch.target[0]] == "yn"[(number - 1) % 4 == 0]


def test_splits_are_seeded_and_share_the_classes_alike(forty):
    data = CsvTextData(forty, val_fraction=0.25, test_fraction=0.2)
    counts = {split: torch.bincount(rows.target).tolist() for split, rows in data.splits().items()}
    assert counts == {"train": [6, 18], "val": [2, 6], "test": [2, 6]}
    assert data.class_counts.tolist() == [6, 18]
    assert names(CsvTextData(forty, split_seed=1), "test") != names(CsvTextData(forty), "test")


def test_few_labels_and_few_rows_are_nested_and_balanced(forty):
    few, more = (CsvTextData(forty, labels_per_class=n) for n in (2, 4))
    assert names(few) < names(more)
    assert few.class_counts.tolist() == [2, 2]
    four, all_of_it = CsvTextData(forty, test_rows=4), CsvTextData(forty)
    assert torch.bincount(four.splits()["test"].target).tolist() == [1, 3]
    assert names(four, "test") < names(all_of_it, "test")
    assert names(four) == names(all_of_it)
    with pytest.raises(ValueError, match="test_rows=9, but the test split has 8 rows; at most these would do"):
        CsvTextData(forty, test_rows=9).splits()
    with pytest.raises(ValueError, match=r"labels_per_class=20, but class 'n' has 7 training rows; at most 7"):
        CsvTextData(forty, labels_per_class=20).splits()


def test_equal_texts_stay_on_one_side(write):
    path = write([(f"{'tExt'[: i % 2 * 2]}ext  {i // 2} ".replace("tEe", "e"), "ab"[i // 2 % 2]) for i in range(60)])
    data = CsvTextData(path, val_fraction=0.3, test_fraction=0.3)
    said = {
        name: {" ".join(row["text"].lower().split()) for row in rows.fields} for name, rows in data.splits().items()
    }
    assert sum(map(len, said.values())) == 30 < sum(len(rows.fields) for rows in data.splits().values()) == 60
    assert not said["train"] & said["test"]
    assert not said["train"] & said["val"]


def test_says_at_fit_what_there_is_and_what_is_met_twice(write, capsys):
    train = write([("a", "x"), ("b", "y"), ("c", "y")])
    data = CsvTextData(train, test=write([("A ", "x"), ("d", "y")], "test.csv"), val_fraction=0)
    for _ in range(2):
        data.setup("fit")
    said = capsys.readouterr().out
    assert said.count("CsvTextData: 2 classes") == 1
    table = data.summary()
    assert [column.header for column in table.columns] == ["split", "rows", "in train too", "a class"]
    assert [list(column.cells) for column in table.columns][2:] == [["", "1"], ["x 1, y 2", ""]]


def test_without_a_split_its_stage_is_an_error(forty):
    data = CsvTextData(forty, val_fraction=0, test_fraction=0)
    with pytest.raises(ValueError, match="no test split; give one, or a test_fraction above 0"):
        data.setup("test")
    data.setup("fit")
    assert data.val_dataloader() == []


def test_predicts_rows_without_labels(forty, tmp_path):
    (tmp_path / "new.csv").write_text("text\nHow so?\n")
    data = CsvTextData(forty, predict_path=str(tmp_path / "new.csv"))
    data.setup("predict")
    (batch,) = data.predict_dataloader()
    assert (batch.fields, batch.target.tolist()) == ([{"text": "How so?"}], [-1])
    assert batch.name == [f"{tmp_path / 'new.csv'}/1"]
    with pytest.raises(ValueError, match=r"no column 'said', but \['text'\]; set data\.inputs"):
        CsvTextData(forty, inputs={"text": "said"}, predict_path=str(tmp_path / "new.csv")).setup("predict")


def test_a_resumed_training_meets_the_rows_of_one_without_a_break(forty, trainer, halt_after):
    whole = Reader()
    trainer(max_epochs=3).fit(whole, CsvTextData(forty, batch_size=7))
    first = trainer(max_epochs=3, callbacks=[halt_after(1)])
    first.fit(Reader(), CsvTextData(forty, batch_size=7))
    first.save_checkpoint("half.ckpt")
    rest = Reader()
    data = TextData.load_from_checkpoint("half.ckpt")
    assert (type(data), data.batch_size) == (CsvTextData, 7)
    trainer(max_epochs=3).fit(rest, data, ckpt_path="half.ckpt", weights_only=True)
    assert rest.read == [entry for entry in whole.read if entry[0] > 0]
    assert [n for epoch, n in whole.read if epoch == 0] != [n for epoch, n in whole.read if epoch == 1]
    with pytest.raises(ValueError, match="which gives texts, and here images are looked at"):
        FolderData.load_from_checkpoint("half.ckpt")


def test_processes_share_the_batches_of_one(forty):
    data = CsvTextData(forty, batch_size=3, val_fraction=0, test_fraction=0)
    data.setup("fit")

    def batches(replicas, rank, size):
        loader = data._shuffled(data.train_set, size)
        loader.batch_sampler.sampler = torch.utils.data.DistributedSampler(data.train_set, replicas, rank)
        sampler = type(loader.batch_sampler)(loader.batch_sampler.sampler, size)
        return [[data.train_set[i][3] for i in batch] for batch in sampler]

    one, *shares = batches(1, 0, 6), batches(2, 0, 3), batches(2, 1, 3)
    assert one == [left + right for left, right in zip(*shares, strict=True)]


@pytest.mark.parametrize("option", [{"batch_size": 0}, {"val_rows": 0}, {"test_fraction": 1}, {"fraction": 0}])
def test_refuses_values_out_of_range(forty, option):
    name, value = next(iter(option.items()))
    with pytest.raises(ValueError, match=f"{name}={value} must"):
        CsvTextData(forty, **option)
