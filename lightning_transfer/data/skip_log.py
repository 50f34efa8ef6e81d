"""Which images could not be read."""

import os
import tempfile
import weakref
from pathlib import Path

from lightning.pytorch import Trainer
from lightning.pytorch.utilities import rank_zero_warn


class SkipLog:
    """A file to which all worker processes append what they skipped; it goes when its maker is gone.

    Args:
        path: the file of another process's log; a new one in the temporary folder if not given.
    """

    def __init__(self, path: str | None = None) -> None:
        if path is None:
            handle, path = tempfile.mkstemp(prefix="skipped_images_", suffix=".txt")
            os.close(handle)
            weakref.finalize(self, _remove, path, os.getpid())
        self.path = path
        self._told = 0

    @classmethod
    def shared(cls, trainer: Trainer | None) -> "SkipLog":
        """Make one for all processes of a run.

        Args:
            trainer: of the run, if there is one.
        """
        if trainer is None or trainer.world_size == 1:
            return cls()
        log = cls() if trainer.is_global_zero else None
        path = trainer.strategy.broadcast(log.path if log else None)
        return log or cls(path)

    def add(self, reason: str) -> None:
        # one write to a file opened for appending is never torn by those of other processes
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(handle, os.fsencode(" ".join(reason.split("\n")) + "\n"))
        os.close(handle)

    def read(self) -> list[str]:
        """Each reason once, in order."""
        return list(dict.fromkeys(os.fsdecode(Path(self.path).read_bytes()).split("\n")[:-1]))

    def tell(self) -> None:
        """Warn of what was skipped since the last time."""
        skipped = self.read()[self._told :]
        self._told += len(skipped)
        if skipped:
            shown = "\n  ".join(skipped[:10]) + ("\n  ..." if len(skipped) > 10 else "")
            rank_zero_warn(f"{len(skipped)} unreadable images were left out:\n  {shown}")


def _remove(path: str, maker: int) -> None:
    if os.getpid() == maker:  # forked workers inherit the log, but not its file
        Path(path).unlink(missing_ok=True)
