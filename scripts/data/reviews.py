"""Make the reviews set: 10,072 sentences from film reviews, positive (1) or negative (0), split 70/10/20.

    python scripts/data/reviews.py [folder]

The folder is `reviews` below LIGHTNING_TRANSFER_DATA or `./data` if not given. Source: the PyPI package vaderSentiment 3.3.2 (MIT),
in it the sentences and human ratings of Hutto and Gilbert, "VADER", ICWSM, 2014. Needs pip and NumPy.
"""

import csv
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

PACKAGE = "vaderSentiment==3.3.2"
CLEAR = 0.5  # ratings lie in [-4, 4]; sentences nearer to neutral than this are left out


def fetch(folder: Path) -> str:
    """Let pip download the package, and read the rated sentences in it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:", PACKAGE]
    if subprocess.run([*command, "--dest", folder]).returncode:
        sys.exit(f"pip could not download {PACKAGE}; is pip installed, and is there a network?")
    (path,) = folder.glob("*.tar.gz")
    with tarfile.open(path) as package:
        inner = package.extractfile("vaderSentiment-3.3.2/additional_resources/hutto_ICWSM_2014.tar.gz").read()
    with tarfile.open(fileobj=io.BytesIO(inner)) as ratings:
        text = ratings.extractfile("hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt").read()
    return text.decode("utf-8", errors="replace")


def main() -> None:
    if {"-h", "--help"} & {*sys.argv}:
        print(__doc__)
        return
    root = Path(
        sys.argv[1] if len(sys.argv) > 1 else Path(os.environ.get("LIGHTNING_TRANSFER_DATA", "data")) / "reviews"
    )
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        rated = [line.split("\t") for line in fetch(Path(folder)).split("\n") if line.strip()]
    kept = [(text.strip(), int(float(rating) > 0)) for _, rating, text in rated if abs(float(rating)) >= CLEAR]
    order = np.random.default_rng(0).permutation(len(kept))
    train, val = int(0.7 * len(kept)), int(0.8 * len(kept))
    for split, part in (("train", order[:train]), ("val", order[train:val]), ("test", order[val:])):
        with (root / f"{split}.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("text", "label"), *(kept[i] for i in part)])
    print(f"{len(kept)} sentences are in {root}")


if __name__ == "__main__":
    main()
