"""What the benchmarks share: a quiet machine, a quiet log, medians with their spread, and figures as the last line."""

import io
import json
import logging
import os
import shutil
import statistics
import sys
import time
import warnings
from argparse import ArgumentParser, Namespace, RawDescriptionHelpFormatter
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any


def parser(description: str | None) -> ArgumentParser:
    """A parser that shows a script's docstring as it stands."""
    return ArgumentParser(description=description, formatter_class=RawDescriptionHelpFormatter)


def report_parts(arguments: ArgumentParser, parts: dict[str, Callable[[Namespace], object]]) -> None:
    """Parse the command line, run those of a script's parts that it names, or all, and report what each found."""
    arguments.add_argument("parts", nargs="*", help=", ".join(parts))
    args = arguments.parse_args()
    if unknown := [name for name in args.parts if name not in parts]:
        arguments.error(f"{unknown[0]} is none of {', '.join(parts)}")
    silence()
    report({name: parts[name](args) for name in args.parts or parts})


def refuse_under_load() -> None:
    """Leave with a sentence if other processes would bend the figures."""
    load = os.getloadavg()[0]
    if load > 0.5 * (os.cpu_count() or 1):
        sys.exit(f"the load is {load:.1f}: other processes would bend the figures; try again when they are done")


def keep_memory() -> None:
    """Start this process anew with an allocator of glibc that keeps freed memory, if it has another.

    Otherwise some goes back to the system and comes again, thousands of times a step or hardly ever, by luck.
    """
    settings = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
    if sys.platform == "linux" and not settings.keys() <= os.environ.keys():
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **settings})


def silence() -> None:
    """Keep Lightning's remarks and all warnings out of the table."""
    import lightning.pytorch  # noqa: F401  # it sets its own level when imported, so that must come first

    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)


def median(values: Sequence[float], unit: str = "", digits: int = 3) -> str:
    """The median, and the range from the least to the greatest."""
    low, middle, high = (f"{f(values):.{digits}f}" for f in (min, statistics.median, max))
    return f"{middle}{unit} ({low} to {high})"


def report(figures: dict[str, object]) -> None:
    """Print the figures as one JSON object: a benchmark's last line."""
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}))


def once(folder: Path, measure: Callable[[], dict[str, Any]]) -> Any:
    """Figures of an earlier run of the same folder, or those that are measured now."""
    path = folder / "figures.json"
    if not path.is_file():
        shutil.rmtree(folder, ignore_errors=True)
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            figures = measure()
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(figures))
        print(f"  {folder}: {figures}", flush=True)
    return json.loads(path.read_text())


def quiet_trainer(steps: int, **options: Any) -> Any:
    """A trainer that writes nothing and validates nothing by itself."""
    from lightning.pytorch import Trainer

    return Trainer(
        max_steps=steps, logger=False, enable_checkpointing=False, enable_progress_bar=False, num_sanity_val_steps=0,
        enable_model_summary=False, check_val_every_n_epoch=None, val_check_interval=10**9, **options,
    )  # fmt: skip


def train(module: Any, data: Any, steps: int, folder: Path, **options: Any) -> Any:
    """Train without a word, and write the last step as model.ckpt; returns the trainer."""
    trainer = quiet_trainer(steps, **options)
    trainer.fit(module, data)
    trainer.save_checkpoint(folder / "model.ckpt", weights_only=True)
    return trainer


def second_epoch(data: Any, module: Any) -> float:
    """Seconds of the second of two epochs of a training on the CPU that writes nothing and validates nothing."""
    from lightning.pytorch import Callback, Trainer

    ends: list[float] = []

    class Clock(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            ends.append(time.perf_counter())

    trainer = Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0, callbacks=[Clock()],
    )  # fmt: skip
    trainer.fit(module, data)
    return ends[1] - ends[0]


def one_epoch(module: Any, batches: list[Any], *callbacks: Any) -> None:
    """Train on prepared batches, on the CPU, and write nothing."""
    from lightning.pytorch import Trainer
    from torch.utils.data import DataLoader

    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[*callbacks],
    )  # fmt: skip
    trainer.fit(module, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]  # a list serves
