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
    "distill/crd",
    "distill/dkd",
    "distill/ensemble",
    "distill/feature",
    "distill/mnist",
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


def make_teachers(name):
    """Run what the header runs before the experiment itself: the trainings of its teachers, and of students to be compared."""
    lines = (PACKAGED / f"{name}.yaml").read_text().splitlines()
    typed = [shlex.split(line.lstrip("# ")) for line in lines if line.startswith("#   lightning-transfer")]
    for _, *words in typed:
        if f"--config {name}" not in " ".join(words):
            main([*words, "--config", "smoke", *SMALL, "--data.batch_size=4"])


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if command(name) in COMMANDS])
def test_runs_its_command(name):
    make_inputs()
    make_teachers(name)
    own = "\ndata:" in (PACKAGED / f"{name}.yaml").read_text()  # otherwise the data is that of a checkpoint
    main([command(name), "--config", name, *(SMALL if own else ())])
    assert list(Path().rglob(f"{command(name)}*.csv"))


@pytest.mark.parametrize("name", [name for name in EXPERIMENTS if command(name) not in COMMANDS])
def test_fits_and_tests(name):
    if name in NEEDS_DATA and "LIGHTNING_TRANSFER_DATA" not in os.environ:
        pytest.skip("LIGHTNING_TRANSFER_DATA names no folder with real data")
    make_inputs()
    if command(name) == "distill":
        make_teachers(name)
    main(["fit", "--config", name, "--config", "smoke", *SMALL, "--data.batch_size=4"])
    (ckpt,) = Path("runs").rglob("best.ckpt")
    main(["test", f"--ckpt_path={ckpt}", "--trainer.limit_test_batches=2"])


@pytest.mark.parametrize("name", [str(p.relative_to(PACKAGED)) for p in (PACKAGED / "trainer").glob("*.yaml")])
def test_overlays_are_accepted(name, capsys):
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config=finetune/digits", f"--config={name}", "--print_config"])
    assert stop.value.code == 0
    assert "strategy: ddp" in capsys.readouterr().out
