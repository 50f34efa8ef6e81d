"""What an offline run leaves for W&B, read back with its own reader."""

import json
from pathlib import Path

import pytest

from lightning_transfer.__main__ import main


def records(path):
    from wandb.proto import wandb_internal_pb2
    from wandb.sdk.internal.datastore import DataStore

    store = DataStore()
    store.open_for_scan(str(path))
    while (data := store.scan_data()) is not None:
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        yield record


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
    found = list(records(path))
    history = {item.key or "/".join(item.nested_key) for r in found if r.WhichOneof("record_type") == "history" for item in r.history.item}
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
    assert [a.type for a in artifacts] == ["model"]
    assert {entry.path for a in artifacts for entry in a.manifest.contents} == {"model.ckpt"}
