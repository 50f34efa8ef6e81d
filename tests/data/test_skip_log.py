import gc
from pathlib import Path

import pytest

from lightning_transfer.data import FolderData
from lightning_transfer.data.skip_log import SkipLog


def test_the_log_is_shared_by_path_and_keeps_each_reason_once():
    log = SkipLog()
    other = SkipLog(log.path)
    for reason in ("a.png: bro\nken", "b.png", "a.png: bro\nken"):
        other.add(reason)
    assert log.read() == ["a.png: bro ken", "b.png"]


def test_skipped_files_are_told_once_and_stay_listed(folder):
    root = folder(5)
    (root / "ant" / "3.png").write_text("broken")
    data = FolderData(
        str(root),
        on_error="skip",
        val_fraction=0,
        test_fraction=0,
        batch_size=10,
        image_size=8,
        num_workers=0,
    )
    data.setup("fit")
    for _ in range(2):
        assert [len(batch.target) for batch in data.train_dataloader()] == [9]
    with pytest.warns(UserWarning, match="1 unreadable images were left out"):
        data.teardown("fit")
    data.teardown("fit")  # warnings are errors here: it must not warn again
    (reason,) = data.skipped
    assert reason.startswith(str(root / "ant" / "3.png"))
    log = Path(data._log.path)
    assert log.exists()
    del data
    gc.collect()
    assert not log.exists()
