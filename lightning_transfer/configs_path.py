"""Where configurations are found: as files, or among those that the package brings."""

from pathlib import Path

_HERE = Path(__file__).parent
PACKAGED = next((p for p in (_HERE / "configs", _HERE.parent / "configs") if p.is_dir()), _HERE / "configs")


def find_config(name: str) -> Path | str:
    """Turn what follows `--config` into a path: a file as it is, otherwise one of the package's by name.

    Args:
        name: a path, or a name such as `finetune/digits`, with or without `.yaml`, with or without a leading `configs/`.

    Raises:
        FileNotFoundError: naming the configurations that there are.
    """
    if Path(name).is_file() or name.lstrip().startswith("{"):
        return name
    short = name.removeprefix("configs/").removesuffix(".yaml")
    path = PACKAGED / f"{short}.yaml"
    if path.is_file():
        return path
    known = sorted(str(p.relative_to(PACKAGED).with_suffix("")) for p in PACKAGED.rglob("*.yaml"))
    raise FileNotFoundError(f"--config {name}: no such file, and none of the package's ({', '.join(known)})")
