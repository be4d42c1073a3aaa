"""The help of a training command: one screen, with the keys of the method that is named; ``--help=all`` says it all."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any, get_args

from hierfit.config.settings import read_settings
from hierfit.config.signature import OTHERS, Argument
from hierfit.run.draft import DATA, METHODS, OWN, TRAINER, ConfigDraft
from hierfit.run.keys import OVERRIDES

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


def print_help(command: str, arguments: Sequence[str], everything: bool = False) -> None:
    """Prints it.

    The last method that files and keys name has its keys shown.
    """
    width = min(shutil.get_terminal_size().columns, 120)
    draft = ConfigDraft(list(read_settings(arguments, [])), [])
    method = draft.class_path.rpartition(".")[2]
    known = {name: argument for name, argument in draft.known["model"].items() if name != OTHERS}
    trainer = {name: TRAINER[name] for name in (TRAINER if everything else _FEW)}
    groups: list[tuple[str, str, Mapping[str, Argument]]] = [
        ("the run's own", "", OWN),
        ("data.", "data.", DATA),
        ("trainer. (Lightning's)", "trainer.", trainer),
    ]
    if method:
        groups.append((f"model. ({method})", "model.", known))
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
            short = "  ".join(_short(prefix, name, argument) for name, argument in arguments_.items())
            lines.append(fill(short, width, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False))
    print("\n".join(lines).replace("\u00a0", " "))


def _short(prefix: str, name: str, argument: Argument) -> str:
    return f"{name}={_default(prefix, name, argument)}".replace(" ", "\u00a0")


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
