"""What a run says last: its table, where everything is, and what to do next; or why it has not come to its end."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap

from rich.console import Console
from rich.markup import escape

from hierfit.errors import NO_LEAVE, UserError
from hierfit.results.card import ResultCard
from hierfit.results.runs import LATEST, run_folder
from hierfit.results.summary import run_table
from hierfit.results.writers import print_tables
from hierfit.streams import process_number, program, shown

_INDENT = len("Run folder  ")


def print_closing(folder: Path, card: ResultCard, arguments: Sequence[str], tracked: str | None) -> None:
    """Prints the cost of a run, its folder, where it is at W&B if it is there, and the commands that use it."""
    console = Console()
    trained, total = card.parameters["trainable"], card.parameters["total"]
    where, called = escape(shown(folder)), escape(program())
    share = f" ({100.0 * trained / total:.2f} % of {total:,})" if total else ""
    left = " · ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))
    wrapped = wrap(left, max(console.width, 40) - _INDENT, break_long_words=False, break_on_hyphens=False)
    lines = [f"[bold]Run folder[/]  {where}", *(" " * _INDENT + line for line in wrapped)]
    if trained:
        took = f"{card.cost['steps']} steps in {card.cost['train_seconds']:.0f} s"
        lines = [f"{escape(card.row)}: {trained:,} trained parameters{share}, {took}", "", *lines]
    if tracked:
        lines.append(f"[bold]W&B[/]         {escape(tracked)}")
    name = escape(short_name(folder))
    lines += [
        f"[bold]Look[/]        {called} report {name}",
        f"[bold]Again[/]       {called} results {name}",
        f"[bold]Next[/]        {called} fit {escape(next_seed(arguments, folder, card.seed + 1))}",
    ]
    if (folder / "predictor").exists():
        lines.append(f"            {called} predict {name} IMAGE…")
    console.print()
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def short_name(folder: Path) -> str:
    """What to call a finished run here: ``latest`` while it is that, else its path."""
    try:
        newest = run_folder(Path(LATEST))
    except UserError:
        return shown(folder)
    return LATEST if newest.resolve() == folder.resolve() else shown(folder)


def next_seed(arguments: Sequence[str], folder: Path, seed: int) -> str:
    """The options of the same run with another seed: those of an experiment that was named, else the run's own."""
    if arguments and not arguments[0].startswith("-") and not any(a.startswith("--data.seed") for a in arguments):
        kept, words = list[str](), iter(arguments)
        for word in words:
            option, equals, _ = word.partition("=")
            pair = [word, next(words, "")] if option.startswith("-") and not equals else [word]
            kept += [] if option in ("--seed_everything", "--folder") else pair
        return shlex.join([*kept, "--seed_everything", str(seed)])
    return f"--config {shown(folder)}/config.yaml --seed_everything {seed} --data.seed {seed}"


def print_rows(cards: Sequence[ResultCard]) -> None:
    """The table of what was tested; a line for what was not."""
    if tested := [card for card in cards if card.metrics]:
        print_tables([run_table(tested)])
    for card in cards:
        if not card.metrics:
            best = ", ".join(f"{name} {value:.4f}" for name, value in card.val.items() if name.endswith("_accuracy"))
            print(f"{card.row}: not tested; {best or 'nothing to validate on'}")


def print_targets(cards: Sequence[ResultCard]) -> None:
    """A table for each target, with a row for each run."""
    for name in dict.fromkeys(card.data["card"] for card in cards):
        print_tables([run_table([card for card in cards if card.data["card"] == name])])


@contextmanager
def shown_plainly() -> Iterator[None]:
    """Ends that are nobody's mistake in programming, in a sentence.

    Raises:
        UserError: There is no room, or no leave, to write.
        SystemExit: The run was asked to stop, and has saved itself.
    """
    from hierfit.run.saving import Stopped

    try:
        yield
    except Stopped as stop:
        if process_number() == 0:
            print(stop, file=sys.stderr)
            sys.exit(stop.exit_code)
        sys.exit(0)  # whoever started the processes would take another code for a crash of this one
    except SystemExit as end:
        if isinstance(end.__context__, KeyboardInterrupt):  # what Lightning makes of Ctrl-C
            raise KeyboardInterrupt from None
        raise
    except OSError as error:
        if error.errno not in NO_LEAVE:
            raise
        raise UserError(
            f"{error.filename or 'A file'} cannot be written: {error.strerror}",
            hint="What was written before is whole. Make room, or choose another place with --runs; "
            "the same command then goes on from where it last saved.",
        ) from error
