"""Layers that are done, on disk: a compression that was broken off goes on where it was."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file
from torch import Tensor

from lightning_transfer.files import whole


class KeptLayers:
    """A folder with one file a layer, and one that says what they depend on.

    Args:
        folder: made with the first layer.
        settings: plain data; layers of other settings are no use.

    Raises:
        ValueError: if the folder holds layers of other settings.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self._settings = json.dumps(settings, indent=1, sort_keys=True)
        path = folder / "settings.json"
        if path.is_file() and path.read_text(encoding="utf-8") != self._settings:
            raise ValueError(
                f"{folder} holds layers of a compression that was broken off and had other settings, weights or images; remove it, or "
                "name another out"
            )

    def read(self, name: str) -> tuple[Tensor, dict[str, Any]] | None:
        """Weights of a layer and its row of the table, if it is done."""
        path = self._path(name)
        if not path.is_file():
            return None
        row = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return load_file(path)["weight"], row

    def write(self, name: str, weight: Tensor, row: Mapping[str, Any]) -> None:
        """Keep a layer."""
        self._settle()
        with whole(self._path(name).with_suffix(".json")) as partial:
            partial.write_text(json.dumps(row), encoding="utf-8")
        with whole(self._path(name)) as partial:
            save_file({"weight": weight.detach().cpu().contiguous()}, partial)

    def costs(self, name: str) -> list[float] | None:
        """What a layer's levels cost, if it is known."""
        path = self._costs(name)
        found: list[float] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None
        return found

    def write_costs(self, name: str, costs: Sequence[float]) -> None:
        """Keep what a layer's levels cost."""
        self._settle()
        with whole(self._costs(name)) as partial:
            partial.write_text(json.dumps(costs), encoding="utf-8")

    def _settle(self) -> None:
        with whole(self.folder / "settings.json") as partial:
            partial.write_text(self._settings, encoding="utf-8")

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"

    def _costs(self, name: str) -> Path:
        return self.folder / "costs" / f"{name}.json"
