import pytest

from lightning_transfer.data import PatternData
from lightning_transfer.data.patterns import pattern_names


@pytest.mark.parametrize("pattern", pattern_names())
def test_lists_are_long_and_halved(pattern):
    data = PatternData(pattern)
    sizes = {split: len(rows.answer) for split, rows in data.splits().items()}
    total = sum(sizes.values())
    assert total >= 40
    assert sizes["test"] == pytest.approx(total / 2, abs=1)
    assert sizes["train"] == pytest.approx(total / 4, abs=1)
    assert (data.task, data.class_names, data.inputs) == ("generation", [], ["word"])
    words = [row["word"] for rows in data.splits().values() for row in rows.fields]
    assert len(set(words)) == total


def test_seven_patterns_of_which_one_is_a_rule():
    assert pattern_names() == ["antonym", "capital", "french", "past", "plural", "spanish", "upper"]
    rows = PatternData("upper").sources()["train"]
    assert list(rows.answer) == [row["word"].upper() for row in rows.fields]
    capitals = PatternData("capital").sources()["train"]
    assert "Ethiopia" in [row["word"] for row in capitals.fields]
    assert "Addis Ababa" in capitals.answer


def test_the_seed_chooses_the_split_and_training_takes_another_word_each():
    first, again, other = PatternData("past"), PatternData("past"), PatternData("past", split_seed=1)
    assert first.splits()["test"].name == again.splits()["test"].name != other.splits()["test"].name
    first.setup("fit")
    seen = [name for batch in first.train_dataloader() for name in batch.name]
    assert sorted(seen) == sorted(first.splits()["train"].name)


def test_a_file_of_ones_own(tmp_path):
    path = tmp_path / "young.txt"
    path.write_text("cat => kitten\n\ndog => puppy\ncow => calf\nsheep => lamb\n", encoding="utf-8")
    assert PatternData(str(path)).sources()["train"].answer == ["kitten", "puppy", "calf", "lamb"]
    for text, said in (
        ("cat kitten\n", "line 1: 'cat kitten' is no pair"),
        ("a => b\na => c\n", "line 2: 'a' is there twice"),
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=said):
            PatternData(str(path)).splits()
    with pytest.raises(FileNotFoundError, match="'lower' names no list; there are antonym, capital, "):
        PatternData("lower").splits()
