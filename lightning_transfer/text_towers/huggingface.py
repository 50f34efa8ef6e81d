"""Any text encoder of transformers, by its name on the hub or from a folder."""

from typing import Any

from lightning_transfer.backbones.weights import offline_if_unreachable
from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.text_towers.pretrained import Pooling, PretrainedTower

_UNLIMITED = 10**6  # what tokenizers without a limit say is far more


class HuggingFaceTower(PretrainedTower):
    """An encoder that `transformers.AutoModel` loads, BERT's kin for example, with its tokenizer.

    Args:
        name: on the Hugging Face hub, `sentence-transformers/paraphrase-multilingual-MiniLM-L12-v2` for example, or a folder that
            `save_pretrained` wrote model and tokenizer to.
        pretrained: whether with its weights; otherwise the architecture with random ones.
        pooling: `mean` over the tokens, `first` token (BERT's [CLS]) or `last` (the end's mark).
        context_length: most tokens of a text; as many as network and tokenizer allow if not given.
        config: of the network; a checkpoint records it, and so needs neither hub nor folder.

    Shape:
        N texts → (N, D)

    Raises:
        ValueError: for a model that is no text encoder, or another pooling.
        FileNotFoundError: for a model that cannot be had.
        ModuleNotFoundError: without transformers.
    """

    def __init__(
        self,
        name: str,
        pretrained: bool = True,
        pooling: Pooling = "mean",
        context_length: int | None = None,
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        try:
            import transformers
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"HuggingFaceTower needs transformers: pip install transformers ({error})"
            ) from error
        if expects_checkpoint() and config is not None:
            known = transformers.AutoConfig.for_model(**config)
            model, tokenizer = _random(known), None
        else:
            model, tokenizer, longest = _load(name, pretrained)
            known = model.config
            context_length = min(context_length or longest, longest)
        self.take(model.float(), tokenizer, pooling, context_length or known.max_position_embeddings)
        plain = {
            key: value for key, value in known.to_diff_dict().items() if key not in ("dtype", "transformers_version")
        }
        self.init_args |= {"context_length": self.context_length, "config": plain | {"model_type": known.model_type}}


def _load(name: str, pretrained: bool) -> tuple[Any, Any, int]:
    """The network, its tokenizer, which pads, and how many tokens a text may have."""
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    try:
        with offline_if_unreachable():
            config = AutoConfig.from_pretrained(name)
            _check(name, config)
            made = AutoTokenizer.from_pretrained(name)
            model = AutoModel.from_pretrained(name) if pretrained else _random(config)
    except (OSError, RuntimeError) as error:
        raise FileNotFoundError(
            f"text_tower.name={name!r} cannot be had: {str(error).splitlines()[0]} (give a name on the Hugging Face hub, or a folder "
            "that save_pretrained wrote model and tokenizer to)"
        ) from error
    tokenizer = getattr(made, "backend_tokenizer", None)
    if tokenizer is None:
        raise ValueError(f"text_tower.name={name!r} has no tokenizer.json; save it with a fast tokenizer")
    pad = made.pad_token or made.eos_token or made.unk_token
    tokenizer.enable_padding(pad_id=made.convert_tokens_to_ids(pad), pad_token=pad)
    longest = min(made.model_max_length, getattr(config, "max_position_embeddings", _UNLIMITED))
    return model.eval(), tokenizer, int(longest)


def _random(config: Any) -> Any:
    from transformers import AutoModel

    made: Any = AutoModel
    return made.from_config(config)


def _check(name: str, config: Any) -> None:
    if (
        getattr(config, "is_encoder_decoder", False)
        or not hasattr(config, "hidden_size")
        or not hasattr(config, "vocab_size")
    ):
        raise ValueError(
            f"text_tower.name={name!r} is a {config.model_type}, no encoder of texts alone; give one of BERT's kind"
        )
