"""Writes what training changed to a small file."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.utilities import rank_zero_info

from lightning_transfer.adapter_file import base_digest, digests, write_adapter
from lightning_transfer.checkpoint import read_checkpoint
from lightning_transfer.language.kept import restore_frozen
from lightning_transfer.parts import Part


class AdapterCheckpoint(Part, Callback):
    """At the end of training, writes the tensors that were trained or that moved, batch norm's statistics for example.

    They are those of the best checkpoint, or the last ones if the run keeps none. `load_adapter` puts them back onto the base.

    Args:
        path: file to write, ending in `.safetensors`; `adapter.safetensors` in the run's folder if not given.

    Raises:
        ValueError: for another ending.
    """

    def __init__(self, path: str | None = None) -> None:
        if path is not None and Path(path).suffix != ".safetensors":
            raise ValueError(f"path={path!r} of AdapterCheckpoint must end in .safetensors")
        self.path = path
        self.base: dict[str, str] = {}  # digest of each tensor before training

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if stage == "fit":
            self.base = digests(pl_module.state_dict())

    def state_dict(self) -> dict[str, Any]:
        return {"base": self.base}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.base = state_dict["base"]  # a resumed run compares with where the first one started

    def on_fit_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        checkpoint = trainer.checkpoint_callback
        best = checkpoint.best_model_path if isinstance(checkpoint, ModelCheckpoint) else ""
        state = _weights(best, pl_module) if best else pl_module.state_dict()
        trained = {name for name, parameter in pl_module.named_parameters() if parameter.requires_grad}
        found = digests(state)
        trained |= {name for name in state if name.startswith(getattr(pl_module, "adapted", ()))}
        names = sorted(name for name in found if name in trained or found[name] != self.base.get(name))
        path = Path(self.path or Path(trainer.default_root_dir) / "adapter.safetensors")
        write_adapter(path, state, names, dict(pl_module.hparams), base_digest(found, names))
        size = sum(state[name].nbytes for name in names) / 2**10
        rank_zero_info(f"the adapter, {len(names)} of {len(found)} tensors and {size:,.0f} KiB, is in {path}")


def _weights(path: str, module: LightningModule) -> dict[str, Any]:
    """All that a checkpoint stands for, with what it leaves to a source."""
    checkpoint = read_checkpoint(path)
    restore_frozen(checkpoint, module)
    return dict(checkpoint["state_dict"])
