"""The command line: each command is a typed function, imported when it is called."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib import import_module
from typing import NoReturn

from hierfit import __version__
from hierfit.errors import NO_LEAVE, UserError, close_words
from hierfit.report import show_at_wandb
from hierfit.streams import as_text, is_text, process_number, tolerate_any_character

# OpenMP's threads spin while they wait. Where other processes want the cores too, that made a step 7 times slower.
# It is read when torch is imported, which nothing above does.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_NOT_TEXT = "'{}' holds a name that is not UTF-8 and cannot be written into a file: rename it (convmv -t utf8)."
TRAINING = {
    "fit": "train an experiment, test the selected checkpoint, run its controls, print the table",
    "validate": "metrics of a checkpoint on the validation split",
    "test": "metrics of a checkpoint on the test split; writes a result card",
}
COMMANDS = {
    "predict": (
        "predict.command:predict",
        "what a run or an export says of images, with calibrated probabilities",
    ),
    "learn": ("predict.command:learn", "more images, a new class, or one less for a model in use, in a second"),
    "fit-head": ("run.fit_head:fit_head", "a closed form on the features that a finished run has adapted"),
    "export": ("predict.export:export", "a run as one folder that loads without Lightning; ONNX; the hub"),
    "data": ("", "data sets and their cards: list, check, prompts, draw, and a new card for your own folder"),
    "data new": ("tools.commands:new_data", "a card for pictures of your own"),
    "data check": ("tools.commands:check_data", "is everything there, sound, and nothing twice?"),
    "data prompts": ("tools.commands:show_prompts", "what each node becomes for a text tower"),
    "data draw": ("tools.commands:draw_data", "pictures of a drawn card as files, to predict on"),
    "data list": ("tools.commands:list_cards", "all data cards: levels, images, licence"),
    "features": ("", "encode any number of pictures into one file, resumable; look into such files"),
    "features extract": ("tools.commands:extract_features", "encode pictures; killed, the same command goes on"),
    "features inspect": ("tools.commands:inspect_features", "what a bundle holds"),
    "features export": ("tools.commands:export_features", "for other programs: NumPy, CSV"),
    "experiments": ("tools.experiments:experiments", "experiments, grids and sweeps by name, and what each asks"),
    "init": ("tools.experiments:init", "a copy of an experiment, a grid or a sweep to change"),
    "runs": ("results.runs:runs", "runs, newest first, with their figures; `latest` is the newest one's name"),
    "grid": ("search.grid:grid", "many runs from one file: rows × shots × seeds × cards, none of them twice"),
    "sweep": ("search.sweep:sweep", "search hyper-parameters on val: a W&B sweep file, by an agent or on this machine"),
    "ablate-tree": ("search.ablate_tree:ablate_tree", "does my tree help? the true tree and others, with a verdict"),
    "reproduce": ("search.reproduce:reproduce", "experiments again, and whether they find what their files say"),
    "results": ("results.command:results", "tables of finished runs: means with intervals, differences to a control"),
    "report": (
        "report.command:report",
        "finished runs as one web page: broken paths, confusion, the latent space",
    ),
    "plot": ("report.plot:plot", "curves over shots of finished runs, with intervals over seeds"),
    "compare": ("results.command:compare", "two runs sample by sample: McNemar's test and bootstrap intervals"),
    "rescore": ("results.command:rescore", "metrics of finished runs again from their test logits, without training"),
    "taxonomy": ("", "class trees in files of any format: check, show, convert, induce, and whether they fit features"),
    "taxonomy check": ("taxonomy.commands:check", "everything that is wrong with a tree, or odd, and how to mend it"),
    "taxonomy show": ("taxonomy.commands:show", "draw a tree"),
    "taxonomy convert": ("taxonomy.commands:convert", "write a tree in another format"),
    "taxonomy fit": ("tools.fit:fit_of_tree", "does this tree fit these features, as a whole and group by group?"),
    "taxonomy induce": ("tools.induce:induce", "grow a tree over classes from their features, by clustering"),
    "merge": ("predict.export:merge", "a trained LoRA adapter and its backbone as one transformers folder"),
}
"""Where each function is and what it does; one without a place has commands below it. Imported when it is called."""

# What other programs call a command.
_SYNONYMS = {"train": "fit", "finetune": "fit", "run": "fit", "eval": "test", "evaluate": "test", "infer": "predict",
           "inference": "predict", "classify": "predict", "extract": "features extract", "list": "runs",
           "show": "results", "doctor": "taxonomy check", "dataset": "data"}  # fmt: skip


def _usage() -> str:
    commands = {**TRAINING, **{name: text for name, (_, text) in COMMANDS.items() if " " not in name}}
    return "\n".join(
        [
            "usage: hierfit COMMAND [options]",
            "",
            "Hierarchy-aware fine-tuning of vision-language models.",
            "",
            "commands:",
            _in_columns(commands),
            "",
            "`hierfit COMMAND --help` lists a command's options, `hierfit experiments` what to fit.",
        ]
    )


def _in_columns(commands: Mapping[str, str]) -> str:
    width = max(map(len, commands))
    return "\n".join(f"  {name:<{width}}  {text}" for name, text in commands.items())


def _no_command(name: str, known: Iterable[str], help_command: str) -> UserError:
    below = [command for command in COMMANDS if command.partition(" ")[2] == name]
    close = [_SYNONYMS[name]] if name in _SYNONYMS else below or close_words(name, known)
    hint = f"Did you mean {close[0]!r}?" if close else f"`{help_command}` lists the commands."
    return UserError(f"There is no command {name!r}.", hint=hint)


def _is_training(command: str, arguments: Sequence[str]) -> bool:
    """`hierfit predict --config …` runs the data module's own test split through the trainer."""
    names = ("-c", "--config", "--ckpt_path")
    return command in TRAINING or (command == "predict" and any(a.partition("=")[0] in names for a in arguments))


def dispatch(arguments: Sequence[str]) -> None:
    """Runs one command."""
    command, *rest = arguments or ["--help"]
    if command in ("-h", "--help"):
        print(_usage())
    elif command == "--version":
        print(f"hierfit {__version__}")
    elif _is_training(command, rest):
        if odd := [as_text(word) for word in rest if not is_text(word)]:
            raise UserError(_NOT_TEXT.format(odd[0]))
        import_module("hierfit.run.commands").run_command(command, rest, show_at_wandb)
    elif command not in COMMANDS or " " in command:
        raise _no_command(command, [*TRAINING, *(n for n in COMMANDS if " " not in n)], "hierfit --help")
    elif COMMANDS[command][0]:
        _call(command, rest)
    else:
        below = {name: text for name, (_, text) in COMMANDS.items() if name.startswith(f"{command} ")}
        name = f"{command} {rest[0]}" if rest else command
        if not rest or rest[0] in ("-h", "--help"):
            print(f"usage: hierfit {command} COMMAND [options]\n\n{COMMANDS[command][1]}\n\ncommands:")
            print(_in_columns({name.partition(" ")[2]: text for name, text in below.items()}))
        elif name in below:
            _call(name, rest[1:])
        else:
            raise _no_command(name, below, f"hierfit {command} --help")


def _call(name: str, arguments: Sequence[str]) -> None:
    """Calls a typed function with the words of its command line."""
    from hierfit.config.command import call

    module, _, function = COMMANDS[name][0].partition(":")
    call(getattr(import_module(f"hierfit.{module}"), function), arguments, name)


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs one command and exits: 0 when all went well, 2 on a user's mistake, 130 when interrupted."""
    tolerate_any_character()
    if not os.path.isdir("."):
        _end("error: the folder you are in is not there any more: `cd` to another.")
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())  # a user's own `model: my_file.MyMethod`; last, so that it hides nothing
    try:
        dispatch(list(sys.argv[1:] if arguments is None else arguments))
        sys.stdout.flush()
    except BrokenPipeError:  # `… | head`: the reader has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except UserError as error:
        number = process_number()
        _end(f"process {number}: error: {error}" if number else f"error: {error}")
    except OSError as error:
        if error.errno not in NO_LEAVE:
            raise
        _end(f"error: {error.filename or 'a file'}: {error.strerror}")
    except UnicodeEncodeError as error:
        if is_text(error.object):
            raise
        line = (error.object[: error.start].splitlines() or [""])[-1] + error.object[error.start :].splitlines()[0]
        _end(f"error: {_NOT_TEXT.format(as_text(line)[:200])}")
    except KeyboardInterrupt:
        _end("interrupted", 130)
    finally:
        if arguments is None:  # the process ends: to look for garbage among all that was imported takes half a second
            gc.freeze()


def _end(message: str, code: int = 2) -> NoReturn:
    print(message, file=sys.stderr)
    sys.exit(code)
