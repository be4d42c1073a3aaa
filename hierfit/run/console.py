"""What a run says: while it goes, one bar over its steps or lines in a log; then its table, where everything is, and
what to do next; or why it has not come to its end."""

from __future__ import annotations

import math
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import wrap
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from rich.console import Console
from rich.markup import escape

from hierfit.data.progress import Meter
from hierfit.errors import NO_LEAVE, UserError
from hierfit.results.card import ResultCard
from hierfit.results.ended import run_table
from hierfit.results.writers import print_tables
from hierfit.run.saving import Stopped
from hierfit.streams import process_number, program, shown


class StepBar(Callback):
    """One bar over the steps of a run, or over the batches of a test without training; lines in a log."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._meter: Meter | None = None
        self._trained = False

    def on(self, name: str) -> StepBar:
        """The bar of the same run's test on other data."""
        return StepBar(f"{self.title} on {name}")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._trained = True
        self._begin(trainer, "", trainer.estimated_stepping_batches, "steps", trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if self._meter is not None:
            self._meter.show(trainer.global_step, lambda: _progress(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if self._meter is not None:
            self._meter.note(lambda: _progress(trainer))
        self._end()

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not _fits(trainer):
            self._begin(trainer, "validating", sum(trainer.num_val_batches))

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer, "testing", sum(trainer.num_test_batches))

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._begin(trainer, "predicting", sum(trainer.num_predict_batches))

    def on_validation_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int, *_: Any
    ) -> None:
        if self._meter is not None and _fits(trainer):
            of = f"{batch_idx + 1}/{sum(trainer.num_val_batches)}"
            self._meter.show(trainer.global_step, lambda: f"validating {of}")
        elif self._meter is not None:
            self._meter.show(batch_idx + 1)

    on_test_batch_end = on_predict_batch_end = on_validation_batch_end  # type: ignore[assignment]

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        if not _fits(trainer):
            self._end()

    on_test_end = on_predict_end = on_validation_end

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._end(exception)

    def _begin(self, trainer: Trainer, what: str, total: float, unit: str = "batches", done: int = 0) -> None:
        if trainer.is_global_zero:
            title = ", ".join(filter(None, (self.title, what)))
            whole = int(total) if math.isfinite(total) else None
            self._meter = Meter(title, whole, unit, done, Console(), not what or not self._trained).__enter__()

    def _end(self, error: BaseException | None = None) -> None:
        if self._meter is not None:
            self._meter.__exit__(error and type(error))
            self._meter = None


def _fits(trainer: Trainer) -> bool:
    return trainer.state.fn == TrainerFn.FITTING


def _progress(trainer: Trainer) -> str:
    metrics = {name: float(value) for name, value in trainer.progress_bar_metrics.items()}
    loss = [f"loss {value:.3g}" for name, value in metrics.items() if name == "train/loss"]
    val = [f"val {100 * value:.1f} %" for name, value in metrics.items() if name.startswith("val/")]
    return " · ".join([*loss, *val])


def print_closing(folder: Path, card: ResultCard, arguments: Sequence[str], page: str | None) -> None:
    """Prints the cost of a run, its folder, its page at W&B if it has one, and the commands that use it."""
    console, name, called = Console(), short_name(folder), program()
    trained, total = card.parameters["trainable"], card.parameters["total"]
    if trained:
        share = f" ({100.0 * trained / total:.2f} % of {total:,})" if total else ""
        took = f"{card.cost['steps']} steps in {card.cost['train_seconds']:.0f} s"
        print(f"\n{card.row}: {trained:,} trained parameters{share}, {took}")
    left = " · ".join(sorted(path.name for path in folder.iterdir() if not path.name.startswith(".")))
    wrapped = wrap(left, max(console.width, 40) - 12, break_long_words=False, break_on_hyphens=False)
    lines = [("Run folder", shown(folder)), *(("", line) for line in wrapped)]
    lines += [("W&B", page)] if page else []
    lines += [
        ("Look", f"{called} report {name}"),
        ("Again", f"{called} results {name}"),
        ("Next", f"{called} fit {next_seed(arguments, folder, card.seed + 1)}"),
    ]
    lines += [("", f"{called} predict {name} IMAGE…")] if (folder / "predictor").exists() else []
    console.print()
    for title, text in lines:
        console.print(f"[bold]{title}[/]{' ' * (12 - len(title))}{escape(text)}", highlight=False, soft_wrap=True)


def short_name(folder: Path) -> str:
    """What to call a finished run here: ``latest`` while it is that, else its path."""
    if not folder.resolve().is_relative_to(Path("runs").resolve()):
        return shown(folder)
    from hierfit.results.runs import LATEST, run_folder

    return LATEST if run_folder(Path(LATEST)).resolve() == folder.resolve() else shown(folder)


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
        print_rows([card for card in cards if card.data["card"] == name])


@contextmanager
def shown_plainly() -> Iterator[None]:
    """Ends that are nobody's mistake in programming, in a sentence.

    Raises:
        UserError: There is no room, or no leave, to write.
        SystemExit: The run was asked to stop, and has saved itself.
    """
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
