"""A run from its configuration to its result card: data, method, trainer; training, selection, test, predictor."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from lightning import Callback, Trainer, seed_everything

from hierfit.config.signature import class_at
from hierfit.data.batch import Shared
from hierfit.data.datamodule import HierarchicalDataModule
from hierfit.distributed import end_with_parent
from hierfit.errors import UserError
from hierfit.methods.base import Method
from hierfit.results.card import ResultCard
from hierfit.run.cards import WriteResultCard
from hierfit.run.checkpoints import SelectOnVal, read_checkpoint
from hierfit.run.configure import Config, configure
from hierfit.run.console import print_closing, print_rows, print_targets, shown_plainly
from hierfit.run.folder import RunState, control_folder, find_run
from hierfit.run.quiet import quieten
from hierfit.run.saving import Curves, SaveProgress, SaveSettings
from hierfit.run.scores import KeepTestLogits, WritePredictions
from hierfit.run.trainer import check_launch, is_child, made, make_trainer
from hierfit.streams import say, shown

if TYPE_CHECKING:
    from hierfit.run.wandb import Show, WandbRun

__all__ = ["Config", "Session", "configure", "execute", "fit", "set_up", "test", "train"]


def execute(config: Config, arguments: Sequence[str], show: Show | None = None) -> None:
    """Runs a training command: for `fit` the run, and after it its controls in folders inside its own.

    Prints the table, and what to do next with the arguments that were typed.
    """
    if is_child():
        end_with_parent()
    quieten()
    with shown_plainly(), ExitStack() as at_end:
        session, keys, controls = set_up(config), config.keys, list[Session]()
        at_end.callback(session.run.release)
        trainer = session.trainer
        if config.command == "fit":
            if trainer.is_global_zero:
                say(session.place)
            fit(session, show)
            for number, control in enumerate(config.controls, start=1):
                part = f"control {number} of {len(config.controls)}"
                folder = control_folder(session.folder, control.row)
                controls.append(set_up(replace(control, folder=folder, part=part)))
                at_end.callback(controls[-1].run.release)
                fit(controls[-1], show)
        elif config.command == "test":
            test(session, keys.ckpt_path)
        elif config.command == "validate":
            trainer.validate(session.method, None, keys.ckpt_path, keys.verbose, session.data)
        else:
            trainer.predict(session.method, None, session.data, return_predictions=False, ckpt_path=keys.ckpt_path)
        if not trainer.is_global_zero:
            return
        sessions = [*controls, session]
        cards = [each.writer.card for each in sessions if each.writer.card is not None]
        print_rows(cards)
        print_targets([card for each in sessions for card in each.targets])
        if config.command == "fit":
            page = session.wandb.page if session.wandb else None
            print_closing(session.folder, cards[-1], arguments, page)
            session.run.reached("done")
        elif session.folder.exists():
            print(f"Written to {session.folder}")


def train(
    config: Config, watchers: Sequence[Callback] = (), shared: Shared | None = None, show: Show | None = None
) -> ResultCard:
    """Trains, selects, tests and writes the run's folder, without its controls; prints its row.

    Args:
        config: See `configure`.
        watchers: Callbacks of the trainer beside its own.
        shared: What the runs of one process share of their data.
        show: Sends W&B what is to be seen of the finished run, where W&B is wanted.

    Raises:
        UserError: The data is at fault.
    """
    with shown_plainly():
        session = set_up(config, watchers, shared)
        fit(session, show)
    session.run.release()
    assert session.writer.card is not None
    print_rows([session.writer.card])
    return session.writer.card


@dataclass
class Session:
    """A run that is set up, and what it has come to."""

    config: Config
    data: HierarchicalDataModule
    method: Method
    run: RunState
    trainer: Trainer
    writer: WriteResultCard
    wandb: WandbRun | None = None
    targets: list[ResultCard] = field(default_factory=list)

    @property
    def folder(self) -> Path:
        return self.run.folder

    @property
    def place(self) -> str:
        """On what it runs, and where to, for people."""
        kept = self.data.card.layout.name == "feature_bundle"
        tower = "features of a bundle" if kept else f"tower {self.data.backbone}"
        root = self.trainer.strategy.root_device
        device = torch.cuda.get_device_name(root) if root.type == "cuda" else root.type
        many = f"{self.trainer.world_size} × " if self.trainer.world_size > 1 else ""
        return f"{tower} on {many}{device}, into {shown(self.folder)}"


def set_up(config: Config, watchers: Sequence[Callback] = (), shared: Shared | None = None) -> Session:
    """Makes data, method and trainer; see `train`."""
    keys, fits, asked = config.keys, config.command == "fit", config
    if keys.ckpt_path:
        config = _of_checkpoint(config, Path(keys.ckpt_path))
    settings = config.settings
    check_launch(settings["trainer"]["devices"], settings["trainer"]["num_nodes"])
    seed_everything(config.seed, workers=True, verbose=False)
    data = made("data", HierarchicalDataModule, settings["data"])
    data.shared = shared
    method = made(config.row, class_at(config.method), settings["model"]["init_args"])
    if not isinstance(method, Method):
        raise UserError(f"model: {config.method} is no method: it does not derive from hierfit.methods.Method")

    run = find_run(asked, resume=fits and keys.resume)
    curves, writer, wandb = Curves(run.folder), WriteResultCard(run.folder, config), None
    callbacks: list[Callback] = [SaveSettings(run.folder, settings, run.begin if fits else None), *watchers]
    if fits and keys.wandb != "disabled":
        from hierfit.run.wandb import wandb_run

        wandb = wandb_run(curves, keys.wandb, method.trains, config.row, config.name, run.wandb_id)
    if settings["data"]["targets"]:
        from hierfit.run.targets import CheckTargets

        callbacks.insert(0, CheckTargets())
    if config.command in ("fit", "test"):
        callbacks.append(writer)
    elif config.command == "predict":
        callbacks.append(WritePredictions(run.folder))
    if fits and method.trains:
        callbacks += [SaveProgress(run, keys.save_every, curves), SelectOnVal(run.folder, keys.select_on)]
    loggers = [curves, *([wandb] if wandb else [])] if fits and (method.trains or wandb) else []
    return Session(config, data, method, run, make_trainer(config, callbacks, loggers, run.folder), writer, wandb)


def fit(session: Session, show: Show | None = None) -> None:
    """Trains (a method that has nothing to train is only tested) and tests the selected weights.

    What an earlier call has done already is not done again.
    """
    run, trainer, keys, wandb = session.run, session.trainer, session.config.keys, session.wandb
    if run.has_result and _read_results(session):
        return
    with run.at_work(), wandb.ended_as_it_ends() if wandb else nullcontext():
        selected = None
        if session.method.trains:
            begin = keys.ckpt_path
            if run.can_continue:
                _announce(session)
                begin = str(run.last)
            trainer.fit(session.method, datamodule=session.data, ckpt_path=begin)
            selected = getattr(trainer.checkpoint_callback, "best_model_path", None) or None
        if keys.test:
            test(session, selected)
        else:
            session.writer.write_untested(trainer, session.method)
        if wandb:
            wandb.conclude(run.folder, session.writer.card, show)
    if trainer.is_global_zero:
        run.reached("tested")


def test(session: Session, checkpoint: str | None) -> None:
    """Tests a checkpoint, or what was trained, and writes a card of it; then the same on each target."""
    trainer = session.trainer
    # Only now: Lightning calls every callback at every hook of every training step.
    trainer.callbacks = [KeepTestLogits(session.folder), *trainer.callbacks]  # type: ignore[attr-defined]
    trainer.test(session.method, datamodule=session.data, ckpt_path=checkpoint, verbose=False)
    if session.data.targets:
        from hierfit.run.targets import test_on_targets

        session.targets = test_on_targets(session)


def _of_checkpoint(config: Config, path: Path) -> Config:
    """The configuration with the method's hyper-parameters as a checkpoint holds them."""
    if not path.is_file():
        raise UserError(f"There is no checkpoint {path}.", hint="A run keeps it in checkpoints/selected.ckpt.")
    saved, model = read_checkpoint(path).get("hyper_parameters", {}), config.settings["model"]
    if not isinstance(saved, dict) or not saved.keys() <= model["init_args"].keys():
        raise UserError(f"{path} holds hyper-parameters that its method does not take")
    model = {**model, "init_args": {**model["init_args"], **saved}}
    return replace(config, settings={**config.settings, "model": model})


def _read_results(session: Session) -> bool:
    """Takes up what a run that was tested already has left; False if that cannot be read."""
    try:
        card = ResultCard.read(session.folder)
        targets = [ResultCard.read(path) for path in sorted(session.folder.glob("targets/*/"))]
    except UserError:
        return False
    if session.trainer.is_global_zero:
        session.writer.card, session.targets = card, targets
        print(f"{session.config.row}: finished already, {session.folder}")
    return True


def _announce(session: Session) -> None:
    step = read_checkpoint(session.run.last).get("global_step")
    if session.trainer.is_global_zero:
        session.run.restore_selected()
        row, folder = session.config.row, session.folder
        if step == session.trainer.max_steps:
            print(f"{row}: trained already, goes on with the test in {folder}")
        else:
            print(f"{row}: goes on from step {step} in {folder}; --resume=false begins anew")
