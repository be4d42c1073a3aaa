"""``hierfit fit``, ``validate``, ``test`` and ``predict --config``: their help, their configuration, or the run.

The help is one screen, with the keys of the method that is named; ``--help=all`` says it all.
"""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Any, get_args

import yaml

from hierfit.config.settings import read_settings
from hierfit.config.signature import Argument, attribute_of
from hierfit.run.configure import Config, configure
from hierfit.run.draft import DATA, METHODS, OWN, TRAINER, ConfigDraft
from hierfit.run.keys import OVERRIDES
from hierfit.streams import process_number, say

if TYPE_CHECKING:
    from hierfit.run.wandb import Show


_ABOUT = {
    "fit": "Trains an experiment, tests the selected checkpoint, runs its controls, prints the table.",
    "validate": "Prints the metrics of a checkpoint on the validation split.",
    "test": "Tests a checkpoint and writes a result card.",
    "predict": "Writes predictions.csv of the test split.",
}
_FEW = (
    *("accelerator", "devices", "num_nodes", "precision", "max_steps", "max_epochs", "val_check_interval"),
    *("accumulate_grad_batches", "gradient_clip_val", "callbacks"),
)


def run_command(command: str, arguments: Sequence[str], show: Show | None = None) -> None:
    """Runs a training command with its controls and prints what came out."""
    flags = {"-h", "--help", "--help=all", "--print_config"}
    asked = flags.intersection(arguments)
    given = [word for word in arguments if word not in flags]
    if asked - {"--print_config"}:
        print_help(command, given, everything="--help=all" in asked)
    elif asked:
        settings = configure(given, command).settings
        print(yaml.safe_dump(settings, sort_keys=False, allow_unicode=True), end="")
    else:
        config = configure(given, command)
        if process_number() == 0:
            say(opening(config))  # before anything heavy is imported
        from hierfit.run.train import execute

        execute(config, given, show)


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


def print_help(command: str, arguments: Sequence[str], everything: bool = False) -> None:
    """Prints it.

    The last method that files and keys name has its keys shown.
    """
    width = min(shutil.get_terminal_size().columns, 120)
    draft = ConfigDraft(list(read_settings(arguments, [])), [])
    method = draft.class_path.rpartition(".")[2]
    trainer = {name: TRAINER[name] for name in (TRAINER if everything else _FEW)}
    groups: list[tuple[str, str, Mapping[str, Argument]]] = [
        ("the run's own", "", OWN),
        ("data.", "data.", DATA),
        ("trainer. (Lightning's)", "trainer.", trainer),
    ]
    if method:
        groups.append((f"model. ({method})", "model.", draft.known["model"]))
    lines = [
        f"usage: hierfit {command} [EXPERIMENT] [--config FILE …] [--KEY VALUE …]",
        "",
        _ABOUT[command],
        "Files and keys are taken in order, a later one wins; values are YAML, ${key} stands for another key's value.",
        "An experiment is a file, or a name that `hierfit experiments` lists.",
        f"  hierfit {command} hier_lora --data.shots 4",
        "  --print_config prints what they come to; --help=all says what each key does.",
        "",
        fill(
            f"--model NAME: {', '.join(METHODS)}, or the import path of your own (my_file.MyMethod); "
            "with --help its keys are shown.",
            width,
            subsequent_indent="    ",
        ),
    ]
    for title, prefix, arguments_ in groups:
        lines += ["", f"{title}:"]
        if everything:
            lines += [_explained(prefix, name, argument, width) for name, argument in arguments_.items()]
        else:
            words = (f"{name}={_default(prefix, name, argument)}" for name, argument in arguments_.items())
            short = "  ".join(word.replace(" ", "\u00a0") for word in words)
            lines.append(fill(short, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
    print("\n".join(lines).replace("\u00a0", " "))


def _explained(prefix: str, name: str, argument: Argument, width: int) -> str:
    options = [o for hint in (get_args(argument.type) or ()) for o in (get_args(hint) or (hint,)) if isinstance(o, str)]
    choice = f" One of {', '.join(options)}." if options else ""
    text = f"{argument.help}{choice} Default: {_default(prefix, name, argument)}."
    return f"  --{prefix}{name}\n" + fill(text, width, initial_indent="      ", subsequent_indent="      ")


def _default(prefix: str, name: str, argument: Argument) -> Any:
    value = OVERRIDES.get(f"{prefix}{name}", argument.default)
    if value is inspect.Parameter.empty:
        return "(must be given)"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else value
