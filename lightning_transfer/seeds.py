"""Seeds that depend on what is drawn, not on what was drawn before: so a resumed training draws what it would have drawn."""

import os
import zlib

import torch


def run_seed() -> int:
    """Seed of the run: that of `seed_everything`, or the one that torch was last seeded with."""
    return int(os.environ.get("PL_GLOBAL_SEED", torch.initial_seed()))


def derived_seed(*numbers: int) -> int:
    """Mix numbers, a seed and an epoch for example, to a seed of 32 bits.

    Example:
        >>> derived_seed(0, 1) == derived_seed(0, 1), derived_seed(0, 1) == derived_seed(1, 0)
        (True, False)
    """
    return zlib.crc32(repr(numbers).encode())
