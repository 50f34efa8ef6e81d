"""Make the spoken digits: zero to nine by 44 synthetic voices in four English accents, 1,760 recordings of 16 kHz.

    python scripts/data/spoken_digits.py [folder]

The folder is `spoken_digits` below LIGHTNING_TRANSFER_DATA or `./data` if not given. Each voice says each digit four times at a speed
and pitch of its own; train, val and test have different voices, and the test's accent is heard nowhere else. Needs espeak-ng (the set
was made with version 1.51) and ffmpeg; 20 MB, some minutes.
"""

import csv
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
VOICES = [
    "f1",
    "f2",
    "f3",
    "f4",
    "f5",
    "m1",
    "m2",
    "m3",
    "m4",
    "m5",
    "m6",
    "m7",
    "m8",
    "adam",
    "anika",
    "belinda",
    "benjamin",
    "caleb",
    "david",
    "edward",
    "grandma",
    "iven",
    "john",
    "linda",
    "max",
    "michel",
    "norbert",
    "pablo",
    "paul",
    "quincy",
    "rob",
    "shelby",
    "steph",
    "travis",
    "victor",
    "zac",
    "Andrea",
    "Annie",
    "Denis",
    "Gene",
    "Henrique",
    "Hugo",
    "Mario",
    "Michael",
]
ACCENTS = ("en-gb", "en-us", "en-gb-scotland", "en-gb-x-gbclan")
REPEATS = 4
HEADER = ("audio", "digit", "voice", "accent", "words_per_minute", "pitch", "split")


def split(voice: int) -> str:
    """The fourth accent is for the test, every fourth voice of the third for validation."""
    return "test" if voice % 4 == 3 else "val" if voice % 8 == 2 else "train"


def say(text: str, voice: str, speed: int, pitch: int, path: Path) -> None:
    """Speak a word into an Ogg file of 16 kHz, one channel."""
    with tempfile.TemporaryDirectory() as folder:
        spoken = Path(folder) / "spoken.wav"
        speak = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "-w", str(spoken), text]
        convert = ["ffmpeg", "-loglevel", "error", "-y", "-i", spoken, "-ac", "1", "-ar", "16000", path]
        for command in (speak, convert):
            if subprocess.run(command, check=False).returncode or not spoken.exists():
                sys.exit(f"{command[0]} failed at {text!r} in voice {voice}; is it a version that has this voice?")


def main() -> None:
    if {"-h", "--help"} & {*sys.argv}:
        print(__doc__)
        return
    for tool in ("espeak-ng", "ffmpeg"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is missing (Debian package {tool}); install it, then run this again")
    root = Path(
        sys.argv[1] if len(sys.argv) > 1 else Path(os.environ.get("LIGHTNING_TRANSFER_DATA", "data")) / "spoken_digits"
    )
    generator = random.Random(0)
    rows = []
    for number, voice in enumerate(VOICES):
        accent = ACCENTS[number % 4]
        (root / voice).mkdir(parents=True, exist_ok=True)
        for digit, word in enumerate(DIGITS):
            for repeat in range(REPEATS):
                speed, pitch = generator.randint(130, 209), generator.randint(30, 74)
                name = f"{voice}/{digit}_{repeat}.ogg"
                say(word, f"{accent}+{voice}", speed, pitch, root / name)
                rows.append((name, digit, voice, accent, speed, pitch, split(number)))
    with (root / "index.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([HEADER, *rows])
    print(f"{len(rows)} recordings are in {root}")


if __name__ == "__main__":
    main()
