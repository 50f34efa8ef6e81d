"""The front door: answers `--help` and `--version` at once, and imports torch only to work."""

import sys

from lightning_transfer import __version__
from lightning_transfer.commands import COMMANDS

MORE = "".join(f"\n  {name:<10} {line}" for name, line in COMMANDS.items())
HELP = f"""lightning-transfer {__version__}: adapt a pretrained network to new data

usage: lightning-transfer COMMAND [--config FILE] [--KEY VALUE ...]

commands:
  fit        train: writes best.ckpt, last.ckpt, metrics.csv and config.yaml into runs/NAME/TIME
  validate   measure a checkpoint on the validation split
  test       measure a checkpoint on the test split
  predict    write classes and probabilities of images to a file{MORE}

example:
  lightning-transfer fit --config finetune/digits
  lightning-transfer test --ckpt_path runs/digits/TIME/best.ckpt
  lightning-transfer predict --ckpt_path runs/digits/TIME/best.ckpt --data.predict_path photos/ --predictions.path out.csv

A checkpoint brings its model and its data configuration along; any --KEY given beside it wins.
`lightning-transfer fit --help` lists all keys, `fit --print_config` shows what would run.
"""


def main(arguments: list[str] | None = None) -> None:
    """Run the command line.

    Args:
        arguments: those of the process if not given.
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if not arguments or arguments[0] in ("-h", "--help"):
        print(HELP, end="")
    elif arguments[0] == "--version":
        print(f"lightning-transfer {__version__}")
    else:
        from lightning_transfer.cli import run

        run(arguments)


if __name__ == "__main__":
    main()
