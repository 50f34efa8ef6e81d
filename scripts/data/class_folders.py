"""Link the images of a list into class folders, the layout that FolderData reads.

    python scripts/data/class_folders.py LIST.csv FOLDER [--path_column image] [--label_column category]

Paths in the list are relative to it. Classes with fewer than two images are left out.
"""

import csv
from argparse import ArgumentParser, RawDescriptionHelpFormatter
from collections import Counter
from pathlib import Path


def main() -> None:
    parser = ArgumentParser(description=__doc__, formatter_class=RawDescriptionHelpFormatter)
    parser.add_argument("list", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--path_column", default="image")
    parser.add_argument("--label_column", default="category")
    args = parser.parse_args()
    with args.list.open(newline="", encoding="utf-8-sig") as file:
        rows = [(row[args.path_column], row[args.label_column]) for row in csv.DictReader(file)]
    counts = Counter(label for _, label in rows)
    for path, label in rows:
        if counts[label] > 1:
            source = (args.list.parent / path).resolve()
            link = args.folder / label.replace("/", "_") / source.name
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)
            link.symlink_to(source)
    print(
        f"{sum(n for n in counts.values() if n > 1)} images of {sum(n > 1 for n in counts.values())} classes are in {args.folder}"
    )


if __name__ == "__main__":
    main()
