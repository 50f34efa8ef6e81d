import os
import subprocess
import sys

import pytest


@pytest.fixture(scope="session")
def run_file():
    """Run a test's own file, which trains in one process or several, with arguments and environment variables."""

    def run(file, *arguments, **variables):
        clean = {k: v for k, v in os.environ.items() if k not in ("LOCAL_RANK", "NODE_RANK", "WORLD_SIZE")}
        command = [sys.executable, file, *map(str, arguments)]
        result = subprocess.run(command, env=clean | variables, capture_output=True, text=True, timeout=300)
        assert result.returncode == 0, result.stderr[-2000:]

    return run
