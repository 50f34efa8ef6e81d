import pytest
import torch
from PIL import Image

from lightning_transfer.data import EpisodeData, OmniglotData


@pytest.fixture
def omniglot(tmp_path):
    """A folder as torchvision has it: two alphabets to train on and one for the test, three drawings of each of three characters."""
    for half, alphabets in (("images_background", ("Greek", "Latin")), ("images_evaluation", ("Tengwar",))):
        for alphabet in alphabets:
            for character in range(1, 4):
                folder = tmp_path / "omniglot-py" / half / alphabet / f"character0{character}"
                folder.mkdir(parents=True)
                for i in range(3):
                    Image.new("1", (105, 105), 1).save(folder / f"{character}_{i}.png")
    return tmp_path


def test_characters_of_both_halves_are_classes(omniglot, monkeypatch):
    monkeypatch.setattr("torchvision.datasets.omniglot.Omniglot._check_integrity", lambda self: True)
    data = OmniglotData(str(omniglot), image_size=28, num_workers=0)
    assert len(data.class_names) == 9
    assert "Tengwar" in data.class_names[-1]
    found = data.sources()
    assert found["train"].targets.bincount().tolist() == [3] * 6
    assert found["test"].targets.bincount().tolist() == [0] * 6 + [3] * 3
    assert torch.equal(found["test"].image(0), torch.full((3, 105, 105), 255, dtype=torch.uint8))
    episodes = EpisodeData(
        data, ways=2, shots=1, queries=2, rotations=True, episodes=4, val_classes=0.3, novel_classes=0.3
    )
    episodes.setup("test")
    batch = next(iter(episodes.test_dataloader()))
    assert batch.query.image.shape == (1, 4, 3, 28, 28)
    assert episodes.num_classes == 12


def test_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"omniglot-py does not hold Omniglot: .*data.download=true fetches it"):
        _ = OmniglotData(str(tmp_path)).class_names
