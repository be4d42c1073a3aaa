"""One training command from its arguments to its table."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml
from jsonargparse import set_parsing_settings
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI

import hierfit.methods
from hierfit.config.option import slices_with_dots
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.results.card import ResultCard
from hierfit.results.run_table import print_results
from hierfit.run.artifacts import WriteArtifacts
from hierfit.run.calibrating import CalibrateOnVal
from hierfit.run.cards import WriteResultCard
from hierfit.run.check import check_settings
from hierfit.run.checkpoints import Checkpoints, read_checkpoint
from hierfit.run.closing import print_closing
from hierfit.run.curves import Curves
from hierfit.run.digest import run_digest
from hierfit.run.ending import said_plainly
from hierfit.run.folder import control_folder, discarded_unless_started
from hierfit.run.keys import OWN_KEYS, add_keys
from hierfit.run.loggers import loggers, wants_report
from hierfit.run.logits import KeepTestLogits
from hierfit.run.predictions import WritePredictions
from hierfit.run.predictor import KeepPredictor
from hierfit.run.progress import Run, find_run
from hierfit.run.quiet import quieten
from hierfit.run.saving import SaveProgress
from hierfit.run.selection import SelectOnVal
from hierfit.run.settings import SaveSettings
from hierfit.run.targets import TARGETS, CheckTargets, test_on_targets
from hierfit.run.together import check_launch, check_processes, check_strategy, end_with_parent, is_child
from hierfit.run.wandb_run import WandbRun, ended_as_it_ends


class Session(LightningCLI):
    """LightningCLI whose ``fit`` trains, tests what was selected, and runs the controls of the experiment."""

    def __init__(self, arguments: Sequence[str], watchers: Sequence[Callback] = ()) -> None:
        self.arguments = slices_with_dots(arguments)
        self.watchers = watchers
        # Interpolations are resolved after all files and options are merged; abbreviations would hide typos.
        options = {"parser_mode": "omegaconf+", "allow_abbrev": False, "exit_on_error": False}
        # Of the subcommands only the one that was named: making the parser of each takes a tenth of a second.
        named = {name: skipped for name, skipped in LightningCLI.subcommands().items() if name in self.arguments[:1]}
        self.subcommands = lambda: named or LightningCLI.subcommands()  # type: ignore[method-assign]
        super().__init__(
            Method,
            HierarchicalDataModule,
            subclass_mode_model=True,
            save_config_callback=None,
            seed_everything_default=1,
            auto_configure_optimizers=False,
            parser_kwargs={**options, **{name: options for name in self.subcommands()}},
            args=self.arguments,
        )

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Adds the keys of a run beside those of model, data and trainer."""
        add_keys(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses quietly where the base class warns that it was not called from a shell."""
        self.config = parser.parse_args(args)

    def _parse_ckpt_path(self) -> None:
        """Looks at a checkpoint before anything else is done; its hyper-parameters are those of the configuration.

        Raises:
            UserError: It is no file, holds more than tensors and plain values, or names a class that is no method here.
        """
        config = self.config[self.config.subcommand]
        if not (path := config.get("ckpt_path")):
            return
        if not Path(path).is_file():
            raise UserError(f"There is no checkpoint {path}.", hint="A run keeps it in checkpoints/selected.ckpt.")
        given = read_checkpoint(Path(path)).get("hyper_parameters", {})
        if not isinstance(given, dict):
            raise UserError(f"{path} cannot be read as a checkpoint: its hyper-parameters have no names")
        named = given.get("_class_path")
        if named is not None and named != config.model.class_path and not str(named).startswith("hierfit."):
            raise UserError(
                f"{path} was made by {named}, which the configuration does not name",
                hint="Use the config.yaml that lies in the checkpoint's run folder.",
            )
        super()._parse_ckpt_path()

    def instantiate_classes(self) -> None:
        """Makes data, model and trainer; Lightning has put a checkpoint's hyper-parameters into the configuration.

        Raises:
            UserError: They are not the method's.
        """
        try:
            super().instantiate_classes()
        except ValueError as error:
            path = self.config[self.subcommand].get("ckpt_path")
            if isinstance(error, UserError) or path is None:
                raise
            raise UserError(f"{path} holds hyper-parameters that its method does not take") from error

    def before_instantiate_classes(self) -> None:
        """Settles what follows from other keys: what the data must serve, how much is shown."""
        config = self.config[self.subcommand]
        method = method_class(config.model.class_path)
        self.row = config.row or method.__name__
        self.seed = int(config.seed_everything)
        config.data.needs = method.needs
        if self.subcommand not in ("fit", "test"):
            config.data.targets = None  # only these test on them
        check_launch(config.trainer.devices, config.trainer.num_nodes)
        config.trainer.enable_model_summary = False
        if config.trainer.enable_progress_bar is None:
            config.trainer.enable_progress_bar = sys.stdout.isatty()

    def instantiate_trainer(self, **kwargs: Any) -> Trainer:
        """Adds what every run keeps: settings, result card, test logits, curves, the selected weights."""
        config = self.config[self.subcommand]
        settings = yaml.safe_load(self._parser(self.subcommand).dump(config, skip_none=False))
        # Whoever starts from a run's configuration must not write into that run.
        settings["folder"] = settings["trainer"]["default_root_dir"] = None
        fits = self.subcommand == "fit"
        self.run = find_run(
            Path(config.folder) if config.folder else None,
            Path(config.runs),
            config.name,
            self.seed,
            run_digest(settings, self.datamodule.card.fingerprint),
            resume=fits and config.resume,
            settings=settings,
        )
        self.folder = folder = self.run.folder
        self.calibrating = CalibrateOnVal(folder)
        self.writer = WriteResultCard(
            folder, self.calibrating, self.row, config.name, self.seed, settings["model"], config.tuned_on
        )
        self.target_cards: list[ResultCard] = []
        begin = self.run.begin if fits else None
        callbacks: list[Callback] = [CheckTargets(), SaveSettings(folder, settings, begin), *self.watchers]
        if self.subcommand in ("fit", "test"):
            callbacks.append(self.writer)
        if self.subcommand == "predict":
            callbacks.append(WritePredictions(folder, self.calibrating))
        trains = fits and self.model.trains
        trainer = self.config_init[self.subcommand].trainer
        check_strategy(trainer.strategy)
        trainer.default_root_dir = str(folder)
        # What is only tested has no curves, but W&B may want to compare it.
        logged = trains or (fits and wants_report(config.wandb))
        trainer.logger = loggers(folder, config.wandb, config.name, self.row, self.run.wandb_id) if logged else False
        if trains:
            curves = next(logger for logger in trainer.logger if isinstance(logger, Curves))
            callbacks += [
                SaveProgress(self.run, config.save_every, curves),
                SelectOnVal(folder, config.select_on or "leaf_accuracy"),
            ]
        trainer.callbacks = [*(trainer.callbacks or []), *callbacks]
        trainer.plugins = [*_listed(trainer.plugins), Checkpoints(resumes=fits)]
        try:
            made = super().instantiate_trainer(**kwargs)
        except (MisconfigurationException, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"The trainer cannot be set up: {error}", hint="See the keys under trainer.") from error
        check_processes(made)
        return made

    run: Run

    def fit(self, model: Method, datamodule: HierarchicalDataModule, **kwargs: Any) -> None:
        """Trains (a method that has nothing to train is only tested) and tests the selected weights.

        What an earlier call has done already is not done again.
        """
        if self.run.has_result and self._read_results():
            return
        with discarded_unless_started(self.folder), ended_as_it_ends(self.trainer.loggers):
            self._train_and_test(model, datamodule, **kwargs)
            for logger in self.trainer.loggers:
                if isinstance(logger, WandbRun):
                    logger.conclude(self.folder, self.writer.card, wants_report(self.config.fit.wandb))
        if self.trainer.is_global_zero:
            self.run.reached("tested")

    def _train_and_test(self, model: Method, datamodule: HierarchicalDataModule, **kwargs: Any) -> None:
        selected = None
        if model.trains:
            if self.run.can_continue:
                self._announce()
                kwargs["ckpt_path"] = self.run.last
            self.trainer.fit(model, datamodule=datamodule, **kwargs)
            selected = getattr(self.trainer.checkpoint_callback, "best_model_path", None) or None
        if self.config.fit.test:
            self.test(model, datamodule, ckpt_path=selected)
        else:
            self.writer.write_untested(self.trainer, model)

    def test(self, model: Method, datamodule: HierarchicalDataModule, **kwargs: Any) -> None:
        """Tests a checkpoint, or what was trained, and writes a card of it; then the same on each target."""
        # Only now: Lightning calls every callback at every hook of every training step.
        before = [KeepTestLogits(self.folder), WriteArtifacts(self.folder), self.calibrating]
        after = [KeepPredictor(self.folder, self.calibrating, self.writer)]
        self.trainer.callbacks = [*before, *self.trainer.callbacks, *after]  # type: ignore[attr-defined]
        self.trainer.test(model, datamodule=datamodule, **{**kwargs, "verbose": False})
        self.target_cards = test_on_targets(
            self.trainer, model, datamodule, self.folder, self.writer.card, self.calibrating.calibration
        )

    def _read_results(self) -> bool:
        """Takes up what a run that was tested already has left; False if that cannot be read."""
        try:
            card = ResultCard.read(self.folder)
            targets = [ResultCard.read(path) for path in sorted(self.folder.glob(f"{TARGETS}/*/"))]
        except UserError:
            return False
        if self.trainer.is_global_zero:
            self.writer.card, self.target_cards = card, targets
            print(f"{self.row}: finished already, {self.folder}")
        return True

    def _announce(self) -> None:
        step = read_checkpoint(self.run.last).get("global_step")
        if self.trainer.is_global_zero:
            if step == self.trainer.max_steps:
                self.run.restore_selected()
                print(f"{self.row}: trained already, goes on with the test in {self.folder}")
            else:
                self.run.restore_selected()
                print(f"{self.row}: goes on from step {step} in {self.folder}; --resume=false begins anew")

    def predict(self, model: Method, datamodule: HierarchicalDataModule, **kwargs: Any) -> None:
        """Writes ``predictions.csv``."""
        self.trainer.predict(model, datamodule=datamodule, **{**kwargs, "return_predictions": False})

    def control(self, row: str, changes: Mapping[str, Any]) -> Session:
        """Runs a control: this very command with some keys changed, in a folder inside this run's."""
        own = [f"--row={row}", f"--folder={control_folder(self.folder, row)}", "--controls=null"]
        return Session([*self.arguments, *as_options(changes), *own])


def as_options(settings: Mapping[str, Any]) -> list[str]:
    """Settings as one writes them on a command line."""
    return [f"--{key}={value if isinstance(value, str) else json.dumps(value)}" for key, value in settings.items()]


def run(arguments: Sequence[str]) -> None:
    """Runs a training command with its controls and prints what came out.

    Raises:
        UserError: The configuration or the data is at fault.
    """
    if is_child():
        end_with_parent()
    quieten()
    command, *given = arguments
    check_settings(given if command == "fit" else [*given, "--controls=null"], OWN_KEYS)  # only fit runs controls
    with said_plainly():
        _run(arguments)


def _run(arguments: Sequence[str]) -> None:
    session = Session(arguments)
    if session.subcommand == "fit":
        controls = session.config.fit.controls or {}
        sessions = [session.control(row, changes) for row, changes in controls.items()]
        cards = [s.writer.card for s in [*sessions, session] if s.writer.card is not None]
        if session.trainer.is_global_zero:
            _print_cards(cards)
            _print_targets([*sessions, session])
            tracked = [logger.where for logger in session.trainer.loggers if isinstance(logger, WandbRun)]
            wanted = wants_report(session.config.fit.wandb)
            print_closing(session.folder, cards[-1], next(filter(None, tracked), None) if wanted else None)
            session.run.reached("done")
        for each in (*sessions, session):
            each.run.release()
    elif session.trainer.is_global_zero:
        if session.writer.card is not None:
            print_results([session.writer.card])
            _print_targets([session])
        if session.folder.exists():
            print(f"Written to {session.folder}")


def fit_alone(arguments: Sequence[str], watchers: Sequence[Callback] = ()) -> ResultCard:
    """Runs ``hierfit fit`` with keys that are checked already, without its controls, for a program that runs many.

    Args:
        arguments: After ``fit``.
        watchers: Callbacks of the trainer beside its own.

    Raises:
        UserError: The configuration or the data is at fault.
    """
    with said_plainly():
        session = Session(["fit", *arguments, "--controls=null"], watchers)
    session.run.release()
    assert session.writer.card is not None
    _print_cards([session.writer.card])
    return session.writer.card


def _print_cards(cards: Sequence[ResultCard]) -> None:
    """The table of what was tested; a line for what was not."""
    if tested := [card for card in cards if card.metrics]:
        print_results(tested)
    for card in cards:
        if not card.metrics:
            best = ", ".join(f"{name} {value:.4f}" for name, value in card.val.items() if name.endswith("_accuracy"))
            print(f"{card.row}: not tested; {best or 'nothing to validate on'}")


def _print_targets(sessions: Sequence[Session]) -> None:
    """A table for each target, with a row for each run."""
    cards = [card for session in sessions for card in session.target_cards]
    for name in dict.fromkeys(card.data["card"] for card in cards):
        print_results([card for card in cards if card.data["card"] == name])


def _listed(plugins: Any) -> list[Any]:
    return list(plugins) if isinstance(plugins, (list, tuple)) else [] if plugins is None else [plugins]


def method_class(class_path: str) -> type[Method]:
    """The method of a configuration that has been parsed."""
    module, _, name = class_path.rpartition(".")
    found: type[Method] = getattr(import_module(module), name)
    return found


set_parsing_settings(omegaconf_absolute_to_relative_paths=True)
for _name in hierfit.methods.__all__:  # once imported, a method can be named by its class name alone
    getattr(hierfit.methods, _name)
