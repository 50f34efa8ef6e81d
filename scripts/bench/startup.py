"""How long the command line takes to answer, against a bare LightningCLI script.

usage: python scripts/bench/startup.py [--pairs 5]
Pairs alternate; medians are given. The last line is one JSON object; `ratio` is ours over bare for `fit --help`.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BARE = """
import timm
from lightning.pytorch.cli import LightningCLI
from lightning.pytorch.demos.boring_classes import BoringDataModule, DemoModel

if __name__ == "__main__":
    LightningCLI(DemoModel, BoringDataModule)
"""


def seconds(command: list[str]) -> float:
    """Wall time of one process."""
    begin = time.perf_counter()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - begin


def main() -> None:
    """Time help, version and import, each beside its counterpart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    pairs = parser.parse_args().pairs
    if os.getloadavg()[0] > 0.5 * (os.cpu_count() or 1):
        sys.exit(
            f"the load is {os.getloadavg()[0]:.1f}: other processes would bend the figures; try again when they are done"
        )
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE)
        commands = {
            "bare fit --help": [sys.executable, str(bare), "fit", "--help"],
            "fit --help": [sys.executable, "-m", "lightning_transfer", "fit", "--help"],
            "--help": [sys.executable, "-m", "lightning_transfer", "--help"],
            "--version": [sys.executable, "-m", "lightning_transfer", "--version"],
            "python -c pass": [sys.executable, "-c", "pass"],
            "import lightning_transfer": [sys.executable, "-c", "import lightning_transfer"],
        }
        for command in commands.values():
            seconds(command)  # the first reads from disk
        times: dict[str, list[float]] = {name: [] for name in commands}
        for _ in range(pairs):
            for name, command in commands.items():
                times[name].append(seconds(command))
    for name, values in times.items():
        print(f"{name:<26} median {statistics.median(values):6.3f} s  ({min(values):.3f} to {max(values):.3f})")
    ratio = statistics.median(a / b for a, b in zip(times["fit --help"], times["bare fit --help"], strict=True))
    imported = statistics.median(times["import lightning_transfer"]) - statistics.median(times["python -c pass"])
    print(
        json.dumps(
            {
                "ratio": round(ratio, 3),
                "help_seconds": round(statistics.median(times["--help"]), 3),
                "import_seconds": round(imported, 3),
            }
        )
    )


if __name__ == "__main__":
    main()
