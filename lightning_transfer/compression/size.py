"""How much room weights take."""

import zlib
from collections.abc import Mapping

import torch
from torch import Tensor


def stored_bytes(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Bytes of tensors as they lie in a checkpoint, and as DEFLATE packs them, which zeros and few different numbers help.

    Args:
        state: tensors by name.
    """
    raw = packed = 0
    for tensor in state.values():
        content = tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes()
        raw += len(content)
        packed += len(zlib.compress(content, 6))
    return {"bytes": raw, "packed_bytes": packed}
