"""Make the rotated digits: 1,797 handwritten digits, each turned by an angle of its own that is to be found.

    python scripts/data/rotated_digits.py [folder]

The folder is `rotated_digits` below LIGHTNING_TRANSFER_DATA or `./data` if not given. Source: the digits that come with scikit-learn;
nothing is downloaded. Angles are whole degrees from -45 to 45, counter-clockwise, drawn with seed 0; `index.csv` has the columns
path, angle and digit.
"""

import csv
import os
import random
import sys
from pathlib import Path

from PIL import Image
from sklearn.datasets import load_digits

SIDE = 64  # pixels, before it is turned
LARGEST = 45  # degrees


def main() -> None:
    if {"-h", "--help"} & {*sys.argv}:
        print(__doc__)
        return
    below = Path(os.environ.get("LIGHTNING_TRANSFER_DATA", "data")) / "rotated_digits"
    root = Path(sys.argv[1]) if len(sys.argv) > 1 else below
    (root / "images").mkdir(parents=True, exist_ok=True)
    draw, digits, rows = random.Random(0), load_digits(), []
    for i, (pixels, digit) in enumerate(zip(digits.images, digits.target, strict=True)):
        angle = draw.randint(-LARGEST, LARGEST)
        image = Image.fromarray((pixels * 255 / 16).round().astype("uint8"))
        image = image.resize((SIDE, SIDE), Image.Resampling.BICUBIC).rotate(angle, Image.Resampling.BICUBIC)
        image.save(root / f"images/{i:04d}.png")
        rows.append((f"images/{i:04d}.png", angle, digit))
    with (root / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "angle", "digit"), *rows])
    print(f"{len(rows)} digits are in {root}")


if __name__ == "__main__":
    main()
