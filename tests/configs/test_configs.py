"""Every experiment that ships runs `fit` and `test`, or its command, through the real entry point."""

import os
import shlex
from pathlib import Path

import pytest
from PIL import Image

from lightning_transfer.__main__ import main
from lightning_transfer.commands import COMMANDS
from lightning_transfer.configs_path import PACKAGED

EXPERIMENTS = sorted(
    str(p.relative_to(PACKAGED).with_suffix("")) for p in PACKAGED.rglob("*/*.yaml") if p.parent.name != "trainer"
)
NEEDS_DATA = {
    "contrastive/emoji",
    "distill/crd",
    "distill/cross_modal",
    "distill/dkd",
    "distill/ensemble",
    "distill/feature",
    "distill/mnist",
    "distill/supervision_transfer",
    "finetune/augmented",
    "finetune/emoji",
    "finetune/mnist",
    "finetune/mnist_mlp",
    "finetune/stamps",
}


def make_inputs():
    """The photos and the lists of labels and numbers that `folder`, `csv` and `regression` ask their user for."""
    rows, angles = ["path,label"], ["path,angle"]
    for name in ("ant", "bee"):
        Path("photos", name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (40, 30), (20 * i, 90, 100)).save(f"photos/{name}/{i}.png")
            rows.append(f"photos/{name}/{i}.png,{name}")
            angles.append(f"../../photos/{name}/{i}.png,{3 * i}")
    Path("labels.csv").write_text("\n".join(rows))
    Path("data/rotated_digits").mkdir(parents=True)
    Path("data/rotated_digits/index.csv").write_text("\n".join(angles))


SMALL = ["--data.image_size=32", "--data.num_workers=0"]


def command(name):
    """The folder is named like the command, where it is not a method that `fit` trains."""
    return name.partition("/")[0]


def typed(name):
    """The header's commands: the trainings of teachers and whom they are compared with, the flags of the experiment's own, and what is done with the student."""
    lines = (PACKAGED / f"{name}.yaml").read_text().splitlines()
    words = [shlex.split(line.lstrip("# "))[1:] for line in lines if line.startswith("#   lightning-transfer")]
    own = next(i for i, line in enumerate(words) if f"--config {name}" in " ".join(line))
    return words[:own], words[own][3:], words[own + 1 :]


def run_small(words):
    limits = {"fit": ["--config", "smoke", *SMALL, "--data.batch_size=4"], "test": ["--trainer.limit_test_batches=2"]}
    main([*words, *limits.get(words[0], SMALL)])


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if command(name) in COMMANDS])
def test_runs_its_command(name):
    make_inputs()
    for words in typed(name)[0]:
        run_small(words)
    own = "\ndata:" in (PACKAGED / f"{name}.yaml").read_text()  # otherwise the data is that of a checkpoint
    main([command(name), "--config", name, *(SMALL if own else ())])
    assert list(Path().rglob(f"{command(name)}*.csv"))


@pytest.mark.filterwarnings("ignore:.*starts from RANDOM weights, since pretrained=auto")  # there is no hub here
@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if command(name) not in COMMANDS])
def test_fits_and_tests(name):
    if name in NEEDS_DATA and "LIGHTNING_TRANSFER_DATA" not in os.environ:
        pytest.skip("LIGHTNING_TRANSFER_DATA names no folder with real data")
    make_inputs()
    before, own, after = typed(name) if command(name) == "distill" else ([], [], [])
    for words in before:
        run_small(words)
    known = {*Path().rglob("best.ckpt")}
    run_small(["fit", "--config", name, *own])
    (ckpt,) = {*Path().rglob("best.ckpt")} - known
    run_small(["test", f"--ckpt_path={ckpt}"])
    for words in after:
        run_small(words)


@pytest.mark.parametrize("name", [str(p.relative_to(PACKAGED)) for p in (PACKAGED / "trainer").glob("*.yaml")])
def test_overlays_are_accepted(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config=finetune/digits", f"--config={name}", "--print_config"])
    assert stop.value.code == 0
    assert "strategy: ddp" in capsys.readouterr().out
