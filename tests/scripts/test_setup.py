"""The set-up fails early, and says in a sentence why."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def setup(tmp_path):
    for name in ("scripts/setup.sh", "pyproject.toml", "README.md", "LICENSE", "lightning_transfer/__init__.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "configs").mkdir()

    def setup(**environment):
        result = subprocess.run(
            ["bash", "scripts/setup.sh", "quickstart"], cwd=tmp_path, env={**os.environ, **environment},
            capture_output=True, text=True,
        )  # fmt: skip
        return result.returncode, result.stderr

    return setup


def executable(path, text):
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_python_is_too_old(setup, tmp_path):
    old = executable(tmp_path / "bin" / "old-python", "exit 1")
    assert setup(PYTHON=old) == (1, f"error: PYTHON={old} is not Python 3.10 or newer\n")


def test_the_disk_is_full(setup, tmp_path):
    executable(tmp_path / "bin" / "df", "printf 'Filesystem 1024-blocks Used Available\\ndisk 9 9 2097152\\n'")
    code, said = setup(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", PYTHON=sys.executable)
    assert (code, said) == (
        1,
        "error: 2 GiB are free here, torch and its libraries need 8; make room, or clone elsewhere\n",
    )
    assert not (tmp_path / ".venv").exists()


def test_no_index_can_be_reached(setup):
    code, said = setup(PIP_INDEX_URL="http://127.0.0.1:9/simple", PIP_EXTRA_INDEX_URL="", PIP_FIND_LINKS="", PIP_NO_INDEX="",
                       PIP_CONFIG_FILE=os.devnull, PYTHON=sys.executable)  # fmt: skip
    assert code == 1
    assert "the installation failed: is a package index reachable?" in said


def test_what_is_installed_is_not_installed_again(setup, tmp_path):
    checksum = subprocess.check_output("cksum <pyproject.toml", shell=True, cwd=tmp_path, text=True)
    (tmp_path / ".venv").mkdir()
    (tmp_path / ".venv" / ".installed-quickstart").write_text(f"{tmp_path} {checksum}")
    assert setup(PYTHON="/nowhere") == (0, "")
