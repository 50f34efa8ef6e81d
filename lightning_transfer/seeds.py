"""Seeds that depend on what is drawn, not on what was drawn before: so a resumed training draws what it would have drawn."""

import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

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


@contextmanager
def drawing_by(seed: int) -> Iterator[None]:
    """Seed the CPU's generator for a while; `torch.manual_seed` would seed those of all devices."""
    before = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        yield
    finally:
        torch.set_rng_state(before)
