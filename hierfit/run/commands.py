"""``hierfit fit``, ``validate``, ``test`` and ``predict --config``: from the command line to the table."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING

import yaml

from hierfit.config.signature import attribute_of
from hierfit.run.configure import Config, configure
from hierfit.streams import end_with_parent, process_number

if TYPE_CHECKING:
    from hierfit.run.loggers import Show
    from hierfit.run.train import Session


def run_command(command: str, arguments: Sequence[str], show: Show | None = None) -> None:
    """Runs a training command with its controls and prints what came out."""
    flags = {"-h", "--help", "--help=all", "--print_config"}
    asked = flags.intersection(arguments)
    given = [word for word in arguments if word not in flags]
    if asked - {"--print_config"}:
        from hierfit.run.help import print_help

        print_help(command, given, everything="--help=all" in asked)
    elif asked:
        settings = configure(given, command).settings
        print(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), end="")
    else:
        _run(configure(given, command), given, show)


def _run(config: Config, arguments: Sequence[str], show: Show | None) -> None:
    if process_number() == 0:  # before anything heavy is imported
        say(opening(config))
    from hierfit.run.closing import print_closing, print_rows, print_targets, shown_plainly
    from hierfit.run.processes import is_child
    from hierfit.run.quiet import quieten
    from hierfit.run.train import set_up, test

    if is_child():
        end_with_parent()
    quieten()
    with shown_plainly():
        sessions = _fit_all(config, show) if config.command == "fit" else [set_up(config)]
        session, keys = sessions[-1], config.keys
        if config.command == "test":
            test(session, keys.ckpt_path)
        elif config.command == "validate":
            session.trainer.validate(session.method, None, keys.ckpt_path, keys.verbose, session.data)
        elif config.command == "predict":
            session.trainer.predict(
                session.method, datamodule=session.data, ckpt_path=keys.ckpt_path, return_predictions=False
            )
        if not session.trainer.is_global_zero:
            return
        cards = [each.writer.card for each in sessions if each.writer.card is not None]
        print_rows(cards)
        print_targets([card for each in sessions for card in each.targets])
        if config.command == "fit":
            print_closing(session.folder, cards[-1], arguments, session.page)
            session.run.reached("done")
        elif session.folder.exists():
            print(f"Written to {session.folder}")
        for each in sessions:
            each.run.release()


def _fit_all(config: Config, show: Show | None) -> list[Session]:
    """The run, and after it its controls in folders inside its own; the run comes last."""
    from hierfit.run.folder import control_folder
    from hierfit.run.train import fit, set_up

    session = set_up(config)
    if session.trainer.is_global_zero:
        say(session.place)
    fit(session, show)
    controls = []
    for number, control in enumerate(config.controls, start=1):
        part = f"control {number} of {len(config.controls)}"
        controls.append(set_up(replace(control, folder=control_folder(session.folder, control.row), part=part)))
        fit(controls[-1], show)
    return [*controls, session]


def say(line: str) -> None:
    """Prints a line at once; in a terminal, broken between words."""
    wide = fill(line, shutil.get_terminal_size().columns, break_on_hyphens=False)
    print(wide if sys.stdout.isatty() else line, flush=True)


def opening(config: Config) -> str:
    """What a command is about to do, in a line."""
    trainer, data = config.settings["trainer"], config.settings["data"]
    steps, epochs = trainer["max_steps"], trainer["max_epochs"]
    work = f"{steps} steps" if steps > 0 else f"{epochs} epochs" if epochs else "training without end"
    if not attribute_of(config.method, "trains"):
        work = "nothing to train, a test"
    if config.command != "fit":
        work = {"test": "a test", "validate": "validation", "predict": "predictions"}[config.command]
    shots = "all images" if data["shots"] is None else f"{data['shots']} shots"
    rows = [control.row for control in config.controls]
    controls = f"; then its control{'s' if len(rows) > 1 else ''} {', '.join(rows)}" if rows else ""
    return f"{config.row}: {work} on {Path(data['card']).stem}, {shots}, seed {config.seed}{controls}"
