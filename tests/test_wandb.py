"""What an offline run leaves for W&B, read back through its own messages."""

import json
import struct
import time
from pathlib import Path

import pytest

from lightning_transfer.__main__ import main


def records(path):
    """The records of a run's file: W&B's own messages, in the blocks of LevelDB's log format behind a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    data, position, message = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while position + 7 <= len(data):
        if 32768 - position % 32768 < 7:  # no head fits in the rest of a block
            position += 32768 - position % 32768
            continue
        length, kind = struct.unpack("<HB", data[position + 4 : position + 7])
        message += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):  # whole, or the last of several
            record = wandb_internal_pb2.Record()
            record.ParseFromString(message)
            yield record
            message = b""


def whole_run(path, seconds=30):
    """All records: the file is written by a process of W&B's own, whose last record says that the run has ended."""
    for _ in range(10 * seconds):
        found = list(records(path))
        if any(record.WhichOneof("record_type") == "exit" for record in found):
            return found
        time.sleep(0.1)
    raise AssertionError(f"{path} was not finished within {seconds} s")


@pytest.mark.filterwarnings("ignore")  # wandb's own deprecations and sockets
def test_metrics_config_and_best_checkpoint_are_recorded(monkeypatch, tmp_path):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for variable in ("WANDB_CACHE_DIR", "WANDB_DATA_DIR", "WANDB_CONFIG_DIR"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    main([
        "fit", "--model=FinetuneModule", "--model.backbone=TimmBackbone", "--model.backbone.name=test_resnet",
        "--model.backbone.pretrained=false", "--data=FakeData", "--data.image_size=32", "--data.num_workers=0", "--config=smoke",
        "--trainer.logger=WandbLogger", "--trainer.logger.log_model=true", "--trainer.logger.project=transfer",
    ])  # fmt: skip
    import wandb

    wandb.finish()
    (path,) = Path().rglob("run-*.wandb")
    found = whole_run(path)
    history = {
        item.key or "/".join(item.nested_key)
        for r in found
        if r.WhichOneof("record_type") == "history"
        for item in r.history.item
    }
    assert {"val/loss", "val/accuracy", "train/loss"} <= history
    config = "".join(
        json.dumps([item.key or list(item.nested_key), item.value_json])
        for r in found
        for item in [*r.config.update, *r.run.config.update]
    )
    assert "test_resnet" in config
    assert "FakeData" in config
    artifacts = [r.request.log_artifact.artifact for r in found if r.request.HasField("log_artifact")] + [
        r.artifact for r in found if r.WhichOneof("record_type") == "artifact"
    ]
    assert {a.type for a in artifacts} == {"model"}  # the best, and the last
    assert any("best" in alias for a in artifacts for alias in a.aliases)
