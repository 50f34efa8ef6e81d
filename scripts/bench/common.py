"""What the benchmarks share: a quiet machine, a quiet log, medians with their spread, and figures as the last line."""

import json
import logging
import os
import statistics
import sys
import warnings
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections.abc import Sequence


def parser(description: str | None) -> ArgumentParser:
    """A parser that shows a script's docstring as it stands."""
    return ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)


def refuse_under_load() -> None:
    """Leave with a sentence if other processes would bend the figures."""
    load = os.getloadavg()[0]
    if load > 0.5 * (os.cpu_count() or 1):
        sys.exit(f"the load is {load:.1f}: other processes would bend the figures; try again when they are done")


def silence() -> None:
    """Keep Lightning's remarks and all warnings out of the table."""
    import lightning.pytorch  # noqa: F401  # it sets its own level when imported, so that must come first

    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


def median(values: Sequence[float], unit: str = "", digits: int = 3) -> str:
    """The median, and the range from the least to the greatest."""
    low, middle, high = (f"{f(values):.{digits}f}" for f in (min, statistics.median, max))
    return f"{middle}{unit} ({low} to {high})"


def report(figures: dict[str, object]) -> None:
    """Print the figures as one JSON object: a benchmark's last line."""
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}))
