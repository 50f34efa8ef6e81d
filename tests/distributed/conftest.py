import pytest
from ranks import run_ranks


@pytest.fixture(scope="session")
def run_file(tmp_path_factory):
    """Run a test's own file, which trains in one process or several: `run_file(__file__, devices, ...)`."""
    return lambda *arguments: run_ranks(tmp_path_factory.mktemp("ranks"), *arguments)
