"""``hierfit fit``, ``validate``, ``test`` and ``predict --config``: from the command line to the table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import yaml

from hierfit.run.configure import Config, configure

if TYPE_CHECKING:
    from hierfit.run.loggers import Show
    from hierfit.run.train import Session


def run(command: str, arguments: Sequence[str], show: Show | None = None) -> None:
    """Runs a training command with its controls and prints what came out.

    Args:
        command: ``fit``, ``validate``, ``test`` or ``predict``.
        arguments: After it.
        show: Sends W&B what is to be seen of a finished run.

    Raises:
        UserError: The configuration or the data is at fault.
    """
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
    from hierfit.run.closing import print_cards, print_closing, print_targets, shown_plainly
    from hierfit.run.expected import check_figures
    from hierfit.run.processes import end_with_parent, is_child
    from hierfit.run.quiet import quieten
    from hierfit.run.train import predict, set_up, test, validate

    if is_child():
        end_with_parent()
    quieten()
    check_figures(config.expected)
    with shown_plainly():
        if config.command == "fit":
            sessions = _fit_all(config, show)
            session = sessions[-1]
        else:
            session = set_up(config)
            sessions = [session]
            {"validate": validate, "predict": predict, "test": lambda s: test(s, config.keys.ckpt_path)}[
                config.command
            ](session)
        if not session.trainer.is_global_zero:
            return
        cards = [each.writer.card for each in sessions if each.writer.card is not None]
        print_cards(cards)
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
    fit(session, show)
    controls = []
    for control in config.controls:
        controls.append(set_up(control.inside(control_folder(session.folder, control.row))))
        fit(controls[-1], show)
    return [*controls, session]
