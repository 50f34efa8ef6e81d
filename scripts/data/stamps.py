"""Make the stamps set: 950 captioned pictures in 16 categories, some with a spoken description in four languages.

    python scripts/data/stamps.py [folder] [--speech]

The folder is `stamps` below LIGHTNING_TRANSFER_DATA or `./data` if not given. Source: the Debian package tuxpaint-stamps-default
(GPL-2; the set was described with version 2022.06.04). Needs apt-get, dpkg-deb, rsvg-convert (Debian package librsvg2-bin) and
Pillow, and ffmpeg for --speech; 161 MB are downloaded.
"""

import csv
import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

PACKAGE = "tuxpaint-stamps-default"
SIDE = 160  # pixels
DRAWN = 256  # height in pixels at which drawings (SVG) are rendered before they are resized like photos
LANGUAGES = ("fr", "es", "ro", "ru")
HEADER = ("image", "category", "subcategory", "caption", *(f"speech_{language}" for language in LANGUAGES))


def require(tool: str, package: str) -> None:
    """Stop with a sentence where a program is missing."""
    if shutil.which(tool) is None:
        sys.exit(f"{tool} is missing (Debian package {package}); install it, then run this again")


def unpack(folder: Path) -> Path:
    """Download the Debian package and unpack it, without installing it."""
    if subprocess.run(["apt-get", "download", PACKAGE], cwd=folder).returncode:
        sys.exit(f"apt-get could not download {PACKAGE}; run `apt-get update` first, and see that there is a network")
    (package,) = folder.glob("*.deb")
    subprocess.run(["dpkg-deb", "-x", package, folder], check=True)
    return folder / "usr/share/tuxpaint/stamps"


def picture(text: Path) -> Image.Image:
    """Lay the stamp beside a caption file in the middle of a white square."""
    if text.with_suffix(".png").exists():
        stamp = Image.open(text.with_suffix(".png")).convert("RGBA")
    else:
        command = ["rsvg-convert", "-h", str(DRAWN), "--keep-aspect-ratio", text.with_suffix(".svg")]
        stamp = Image.open(io.BytesIO(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)).convert(
            "RGBA"
        )
    side = max(stamp.size)
    square = Image.new("RGBA", (side, side), "white")
    square.alpha_composite(stamp, ((side - stamp.width) // 2, (side - stamp.height) // 2))
    return square.convert("RGB").resize((SIDE, SIDE), Image.Resampling.LANCZOS)


def speech(text: Path, root: Path, name: str) -> list[str]:
    """Convert the spoken descriptions to 16 kHz mono; an empty string where a language has none."""
    made = []
    for language in LANGUAGES:
        source = text.with_name(f"{text.stem}_desc_{language}.ogg")
        path = f"speech/{language}/{name}.ogg" if source.exists() else ""
        if path:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            convert = ["ffmpeg", "-loglevel", "error", "-y", "-i", source, "-ac", "1", "-ar", "16000", root / path]
            subprocess.run(convert, check=True)
        made.append(path)
    return made


def main() -> None:
    if {"-h", "--help"} & {*sys.argv}:
        print(__doc__)
        return
    arguments = [argument for argument in sys.argv[1:] if argument != "--speech"]
    with_speech = "--speech" in sys.argv
    for tool, package in (("apt-get", "apt"), ("dpkg-deb", "dpkg"), ("rsvg-convert", "librsvg2-bin")):
        require(tool, package)
    if with_speech:
        require("ffmpeg", "ffmpeg")
    root = Path(arguments[0] if arguments else Path(os.environ.get("LIGHTNING_TRANSFER_DATA", "data")) / "stamps")
    (root / "images").mkdir(parents=True, exist_ok=True)
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        stamps = unpack(Path(folder))
        for text in stamps.rglob("*.txt"):
            if not (text.with_suffix(".png").exists() or text.with_suffix(".svg").exists()):
                continue
            parts = text.relative_to(stamps).with_suffix("").parts
            name = "__".join(parts)
            caption = text.read_text(encoding="utf-8", errors="replace").split("\n")[0].strip()
            picture(text).save(root / f"images/{name}.jpg", quality=90)
            spoken = speech(text, root, name) if with_speech else [""] * len(LANGUAGES)
            rows.append((f"images/{name}.jpg", parts[0], "/".join(parts[1:-1]), caption, *spoken))
    with (root / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *sorted(rows)])
    print(f"{len(rows)} pictures are in {root}")


if __name__ == "__main__":
    main()
