"""Make the emoji set: 1,906 concepts drawn by Google and by Twitter, 64 pixels each.

    python scripts/data/emoji.py [folder]

The folder is `emoji` below LIGHTNING_TRANSFER_DATA or `./data` if not given. Source: the npm packages emoji-datasource-google and
emoji-datasource-twitter 16.0.0 (code MIT, artwork Apache-2.0 and CC-BY 4.0). Needs npm and Pillow; 136 MB are downloaded.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from PIL import Image

VERSION = "16.0.0"
SIZE, PITCH = 64, 66  # pixels; the sheet keeps one empty pixel on every side of a drawing
HEADER = ("codepoint", "name", "keywords", "category", "subcategory", "left", "top", "size")


def fetch(vendor: str, folder: Path) -> tarfile.TarFile:
    """Let npm download a vendor's package, and open it."""
    if shutil.which("npm") is None:
        sys.exit("npm is missing; install Node.js (apt install npm, brew install node), then run this again")
    package = f"emoji-datasource-{vendor}@{VERSION}"
    made = subprocess.run(["npm", "pack", package, "--silent"], cwd=folder, stdout=subprocess.PIPE, text=True)
    if made.returncode:
        sys.exit(f"npm could not download {package}; is there a network?")
    return tarfile.open(folder / made.stdout.split()[-1])


def write_sheet(package: tarfile.TarFile, vendor: str, path: Path) -> None:
    """Lay the vendor's sheet of transparent drawings on white."""
    with package.extractfile(f"package/img/{vendor}/sheets/64.png") as file:
        drawings = Image.open(file).convert("RGBA")
    sheet = Image.new("RGBA", drawings.size, "white")
    sheet.alpha_composite(drawings)
    sheet.convert("RGB").save(path)


def write_index(package: tarfile.TarFile, path: Path) -> int:
    """List the emoji that both vendors drew; skin tones and hair colours alone (Component) are no pictures of their own."""
    with package.extractfile("package/emoji.json") as file:
        emoji = json.load(file)
    rows = [
        (
            e["unified"],
            e["name"].lower(),
            " ".join(e["short_names"]).replace("_", " "),
            e["category"],
            e["subcategory"],
            e["sheet_x"] * PITCH + 1,
            e["sheet_y"] * PITCH + 1,
            SIZE,
        )
        for e in emoji
        if e["has_img_google"] and e["has_img_twitter"] and e["category"] != "Component"
    ]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    return len(rows)


def main() -> None:
    if {"-h", "--help"} & {*sys.argv}:
        print(__doc__)
        return
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(os.environ.get("LIGHTNING_TRANSFER_DATA", "data")) / "emoji")
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        for vendor in ("google", "twitter"):
            with fetch(vendor, Path(folder)) as package:
                write_sheet(package, vendor, root / f"{vendor}.png")
                count = write_index(package, root / "index.csv")
                (root / "LICENSE").write_bytes(package.extractfile("package/LICENSE").read())
    print(f"{count} emoji by two vendors are in {root}")


if __name__ == "__main__":
    main()
