"""The command line: Lightning's own, with a folder for each run and checkpoints that bring their configuration along."""

import json
import os
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch import LightningDataModule, Trainer
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.cli import ArgsType, LightningArgumentParser, LightningCLI, SaveConfigCallback
from lightning.pytorch.loggers import CSVLogger, WandbLogger
from lightning.pytorch.utilities import rank_zero_info

import lightning_transfer.adapters
import lightning_transfer.asking
import lightning_transfer.backbones
import lightning_transfer.choice_scores
import lightning_transfer.compression
import lightning_transfer.data
import lightning_transfer.demonstrations
import lightning_transfer.edits
import lightning_transfer.extraction
import lightning_transfer.fewshot
import lightning_transfer.heads
import lightning_transfer.inner_loops
import lightning_transfer.language
import lightning_transfer.losses.distill
import lightning_transfer.losses.pair
import lightning_transfer.losses.supervised
import lightning_transfer.mappings
import lightning_transfer.mixing
import lightning_transfer.models
import lightning_transfer.modules
import lightning_transfer.penalties
import lightning_transfer.probes
import lightning_transfer.projectors
import lightning_transfer.prompts
import lightning_transfer.teachers
import lightning_transfer.text_encoders
import lightning_transfer.text_towers
import lightning_transfer.views  # noqa: F401  # imported classes can be named without their path
from lightning_transfer.callbacks import PredictionWriter
from lightning_transfer.checkpoint import check_hyperparameters, read_checkpoint, weights_from_checkpoint
from lightning_transfer.commands import COMMANDS
from lightning_transfer.configs_path import find_config
from lightning_transfer.data import EpisodeData
from lightning_transfer.errors import explain_parse_error, is_for_people, sentence
from lightning_transfer.merging.show import by_set, print_table
from lightning_transfer.modules import TransferModule
from lightning_transfer.runs import run_folder

# What Lightning warns of although it is meant so, or is none of the user's business.
_QUIET = (
    ".*exists and is not empty.*",  # the run's folder holds its configuration by then
    ".*callbacks used to create the checkpoint need to be provided.*",  # a test needs no early stopping
    ".*isinstance.treespec, LeafSpec.. is deprecated.*",  # Lightning against torch 2.15
    ".*The dirpath has changed.*",  # a resumed run has a folder of its own, as is said
    ".*module\\(s\\) in eval mode.*",  # frozen ones are meant to be
    ".*is smaller than the logging interval.*",  # figures of the epoch are logged all the same
)
_LINKED = ("num_classes", "class_names", "image_size", "task")


class Parser(LightningArgumentParser):
    """Says what is wrong in a sentence, without the page of options."""

    def error(self, message: str, ex: Exception | None = None) -> Any:
        if self.exit_on_error:
            command = self.prog.rpartition(" ")[2]
            print(f"error: {explain_parse_error(message, command if command in COMMANDS else 'fit')}", file=sys.stderr)
            sys.exit(2)
        return super().error(message, ex)


class SaveConfig(SaveConfigCallback):
    """Leaves out the folder that was chosen for this run, which another one must not inherit, and tells every logger.

    Args:
        automatic: keys that were not given but chosen.
    """

    def __init__(
        self, parser: LightningArgumentParser, config: Any, automatic: Sequence[str] = (), **kwargs: Any
    ) -> None:
        super().__init__(parser, config.clone(), **kwargs)
        for key in automatic:
            self.config[key] = None

    def save_config(self, trainer: Trainer, pl_module: Any, stage: str) -> None:  # Lightning's signature
        config = yaml.safe_load(self.parser.dump(self.config, skip_none=False))
        for logger in trainer.loggers:
            if not isinstance(logger, CSVLogger):  # it stands beside the file already
                logger.log_hyperparams({"config": config})


class TransferCLI(LightningCLI):
    """`fit`, `validate`, `test` and `predict`.

    Args:
        arguments: as typed after the program's name.
    """

    def __init__(self, arguments: list[str]) -> None:
        self.from_checkpoint: dict[str, Any] = {}
        self._typed = arguments[0]
        base = {"default_config_files": [str(find_config("base"))]}
        super().__init__(
            model_class=TransferModule,
            subclass_mode_model=True,
            datamodule_class=LightningDataModule,
            subclass_mode_data=True,
            save_config_callback=SaveConfig,
            save_config_kwargs={"overwrite": True},
            parser_class=Parser,
            parser_kwargs={command: dict(base) for command in self.subcommands()},
            auto_configure_optimizers=False,
            args=self._prepare(arguments),
        )

    def subcommands(self) -> dict[str, set[str]]:  # type: ignore[override]
        """Leave only the one that is typed: the parsers of the others would be built and filled for nothing."""
        known = LightningCLI.subcommands()
        return {name: skipped for name, skipped in known.items() if name == self._typed} or known

    def _prepare(self, arguments: list[str]) -> list[str]:
        """Find the named configurations, and let a checkpoint's come first so that everything after it wins."""
        command, rest = arguments[0], _with_found_configs(arguments[1:])
        path = _value(rest, "--ckpt_path")
        if command in ("validate", "test", "predict") and path:
            self._read(path)
            rest = ["--config", json.dumps(self.from_checkpoint["config"]), *rest]
        return [command, *rest]

    def _read(self, path: str) -> None:
        checkpoint = read_checkpoint(path)
        config = {}
        for key, name in (("model", "hyper_parameters"), ("data", "datamodule_hyper_parameters")):
            hparams = dict(checkpoint.get(name, {}))
            check_hyperparameters(hparams)
            if "_class_path" in hparams:
                arguments = {k: v for k, v in hparams.items() if not k.startswith("_")}
                if key == "model":
                    self.from_checkpoint |= {k: arguments.pop(k, None) for k in _LINKED}
                config[key] = {"class_path": hparams["_class_path"], "init_args": arguments}
        self.from_checkpoint["config"] = config

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.add_lightning_class_args(EarlyStopping, "early_stopping")
        parser.add_lightning_class_args(PredictionWriter, "predictions")
        for name in _LINKED:
            parser.link_arguments(
                "data",
                f"model.init_args.{name}",
                compute_fn=lambda data, name=name: self._linked(data, name),
                apply_on="instantiate",
            )

    def _linked(self, data: LightningDataModule, name: str) -> Any:
        """What the model learns of the data: from the checkpoint if there is one, which the data must then agree with."""
        if not self.from_checkpoint:
            return getattr(data, name, "classification" if name == "task" else None)
        trained = self.from_checkpoint[name]
        episodes = isinstance(data, EpisodeData)  # their classes are new ones, whatever was trained on
        if name == "class_names" and trained and self.subcommand != "predict" and not episodes:
            given = getattr(data, name, None)
            if given is not None and list(given) != list(trained):
                raise ValueError(
                    f"the checkpoint knows {len(trained)} classes ({', '.join(map(str, trained[:5]))}, ...), but the data has "
                    f"{len(given)} ({', '.join(map(str, given[:5]))}, ...); test on data with the same classes in the same order"
                )
        return trained

    def parse_arguments(self, parser: LightningArgumentParser, args: ArgsType) -> None:
        self.config = parser.parse_args(args)  # type: ignore[arg-type]

    def _parse_ckpt_path(self) -> None:
        """Do nothing: Lightning would let the checkpoint's arguments win over those typed; see `_prepare`."""

    def before_instantiate_classes(self) -> None:
        config = self.config[self.subcommand]
        chosen = [
            key for key in ("trainer.default_root_dir", "checkpoint.dirpath", "predictions.path") if config[key] is None
        ]
        if config.trainer.default_root_dir is None:
            config.trainer.default_root_dir = str(
                run_folder(str(self.subcommand), config.ckpt_path, _config_name(config))
            )
        root = Path(config.trainer.default_root_dir)
        config.checkpoint.dirpath = config.checkpoint.dirpath or str(root)
        config.predictions.path = config.predictions.path or str(root / "predictions.csv")
        self.save_config_kwargs["automatic"] = chosen
        if config.ckpt_path:
            config.weights_only = True
            if self.subcommand == "fit":
                old, new = os.path.dirname(config.ckpt_path) or ".", os.path.relpath(config.checkpoint.dirpath)
                rank_zero_info(f"resuming in {new}; the best checkpoint of the epochs before stays in {old}")
        if self.subcommand == "predict":
            config.return_predictions = False  # the writer has them; all images' logits need not stay in memory

    def instantiate_classes(self) -> None:
        if self.config[self.subcommand].ckpt_path:
            with weights_from_checkpoint():
                super().instantiate_classes()
        else:
            super().instantiate_classes()

    def _instantiate_trainer(self, config: dict[str, Any], callbacks: list[Any]) -> Trainer:
        logger = config["logger"]
        if logger is not False:
            given = logger if isinstance(logger, list) else [logger] if logger not in (None, True) else []
            config["logger"] = [CSVLogger(config["default_root_dir"], name="", version=""), *given]
            callbacks.append(LearningRateMonitor())
        if self.subcommand != "fit":
            callbacks = [c for c in callbacks if not isinstance(c, ModelCheckpoint | EarlyStopping)]
            config["enable_checkpointing"] = False
        elif config["enable_checkpointing"] is False:
            callbacks = [c for c in callbacks if not isinstance(c, ModelCheckpoint)]
        trainer = super()._instantiate_trainer(config, callbacks)
        if config["sync_batchnorm"] and trainer.world_size > 1 and isinstance(trainer.accelerator, CPUAccelerator):
            raise ValueError(
                "trainer.sync_batchnorm=true is for GPUs, and here are CPUs; add --trainer.sync_batchnorm=false"
            )
        return trainer

    def after_fit(self) -> None:
        checkpoint = self.trainer.checkpoint_callback
        if isinstance(checkpoint, ModelCheckpoint) and checkpoint.best_model_path:
            best = os.path.relpath(checkpoint.best_model_path)
            rank_zero_info(f"done; next: lightning-transfer test --ckpt_path {best}")

    def before_test(self) -> None:
        # Lightning would give each set a column, over several tables; the rows that another set fills are empty in it
        config = self.config_init["test"]
        data = self.datamodule
        self._in_rows = config.verbose and bool(getattr(data, "test_sets", None) or getattr(data, "corruptions", None))
        config.verbose = config.verbose and not self._in_rows

    def after_test(self) -> None:
        if self._in_rows and self.trainer.is_global_zero:
            print_table(by_set(self.trainer.callback_metrics), "test")

    def after_predict(self) -> None:
        rank_zero_info(f"predictions are in {os.path.relpath(self.config.predict.predictions.path)}")


def run_command(arguments: list[str]) -> Any:
    """Call the function of `lightning_transfer.commands` that is named first, with the arguments after it."""
    name, *rest = arguments
    function = getattr(import_module(f"lightning_transfer.commands.{name}"), name)
    parser = Parser(prog=f"lightning-transfer {name}", description=COMMANDS[name])
    parser.add_argument("-c", "--config", action="config", help="a file, or the name of one that the package brings")
    parser.add_function_arguments(function)
    values = parser.instantiate_classes(parser.parse_args(_with_found_configs(rest)))
    return function(**{key: value for key, value in values.items() if key != "config"})


def run(arguments: list[str]) -> None:
    """Run one command; what went wrong through its input is said in a sentence, with exit code 2."""
    for message in _QUIET:
        warnings.filterwarnings("ignore", message=message)
    try:
        run_command(arguments) if arguments[0] in COMMANDS else TransferCLI(arguments)
    except Exception as error:
        if not is_for_people(error):
            raise
        print(f"error: {sentence(error)}", file=sys.stderr)
        sys.exit(2)


def _with_found_configs(words: list[str]) -> list[str]:
    found = [*words]
    for i, word in enumerate(words):
        flag, equals, value = word.partition("=")
        if flag in ("-c", "--config") and equals:
            found[i] = f"{flag}={find_config(value)}"
        elif flag in ("-c", "--config") and i + 1 < len(words):
            found[i + 1] = str(find_config(words[i + 1]))
    return found


def _value(words: list[str], flag: str) -> str | None:
    """The last value given to a flag, in either of its two spellings."""
    found = None
    for i, word in enumerate(words):
        if word.startswith(f"{flag}="):
            found = word.partition("=")[2]
        elif word == flag and i + 1 < len(words):
            found = words[i + 1]
    return found


def _config_name(config: Any) -> str:
    paths = [Path(str(path)) for path in config.get("config") or () if path is not None]
    # a run's own configuration lies in runs/NAME/TIME
    files = [path.parent.parent.name if path.name == "config.yaml" else path.stem for path in paths]
    return files[0] if files else str(config.model.class_path).rpartition(".")[2].removesuffix("Module").lower()


_ = WandbLogger  # so that `--trainer.logger=WandbLogger` needs no path
