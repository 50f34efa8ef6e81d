"""A transformer of our own that reads bytes."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from lightning_transfer.text_towers.base import TextTokens, TextTower

_START, _END, _PAD, _TOKENS = 256, 257, 258, 259  # behind the values of a byte


class TransformerTower(TextTower):
    """A transformer in CLIP's shape: learned positions, norms before each part, and the output at the text's end.

    Tokens are the bytes of UTF-8 between a mark of the beginning and one of the end. They need no vocabulary, which a checkpoint would
    have to carry and whose words would be those of one language, and give back every text as it was. In return a text has as many tokens
    as letters, four to five times as many as of word pieces: right for captions, wrong for pages.

    Args:
        width: D of the entries and of the vectors, a multiple of `heads`.
        depth: number of blocks.
        heads: of attention.
        context_length: most bytes of a text, with the two marks.
        causal: whether a token sees only those before it, as in CLIP; otherwise all.
        dropout: share of the entries that training leaves out, in [0, 1).

    Shape:
        N texts → (N, width)

    Raises:
        ValueError: for values out of range.

    Reference:
        Radford et al., "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021, section 2.4.

    Deviation:
        Bytes instead of 49,152 pieces of words; GELU instead of its approximation by a sigmoid.
    """

    def __init__(
        self,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        context_length: int = 128,
        causal: bool = True,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        for name, value in (("width", width), ("depth", depth), ("heads", heads)):
            if value < 1:
                raise ValueError(f"{name}={value} of TransformerTower must be at least 1")
        if width % heads:
            raise ValueError(f"width={width} of TransformerTower must be a multiple of heads={heads}")
        if context_length < 3:
            raise ValueError(
                f"context_length={context_length} of TransformerTower must be at least 3, one byte and two marks"
            )
        self.num_features, self.context_length, self.causal = width, context_length, causal
        self.tokens = nn.Embedding(_TOKENS, width)
        self.positions = nn.Parameter(torch.empty(context_length, width))
        block = nn.TransformerEncoderLayer(
            width, heads, 4 * width, dropout, nn.functional.gelu, batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(block, depth, nn.LayerNorm(width), enable_nested_tensor=False)
        self._initialise(width, depth)

    def _initialise(self, width: int, depth: int) -> None:
        """CLIP's: a residual stream whose variance does not grow with the depth."""
        nn.init.normal_(self.tokens.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)
        for block in self.blocks.layers:
            nn.init.normal_(block.self_attn.in_proj_weight, std=width**-0.5)
            nn.init.normal_(block.self_attn.out_proj.weight, std=(2 * width * depth) ** -0.5)
            nn.init.normal_(block.linear1.weight, std=(2 * width) ** -0.5)
            nn.init.normal_(block.linear2.weight, std=(2 * width * depth) ** -0.5)

    def tokenize(self, texts: Sequence[str]) -> TextTokens:
        rows = [[_START, *text.encode(errors="surrogatepass"), _END] for text in texts]
        lengths = [len(row) for row in rows]
        self.check(texts, lengths)
        longest = max(lengths)
        ids = torch.tensor([row + [_PAD] * (longest - len(row)) for row in rows])
        return TextTokens(ids, torch.arange(longest) < torch.tensor(lengths)[:, None])

    def decode(self, tokens: TextTokens) -> list[str]:
        """The texts that tokens are of."""
        rows = (row[mask][1:-1].tolist() for row, mask in zip(tokens.ids, tokens.mask, strict=True))
        return [bytes(row).decode(errors="surrogatepass") for row in rows]

    def embed(self, ids: Tensor) -> Tensor:
        entries: Tensor = self.tokens(ids)
        return entries

    def encode(self, entries: Tensor, tokens: TextTokens) -> Tensor:
        length = entries.shape[1]
        hidden = None
        if self.causal:  # padding stands behind, where no token looks
            hidden = torch.ones(length, length, dtype=torch.bool, device=entries.device).triu(1)
        padding = None if self.causal else ~tokens.mask
        outputs = self.blocks(entries + self.positions[:length], hidden, padding, is_causal=self.causal)
        return self.last(outputs, tokens)
