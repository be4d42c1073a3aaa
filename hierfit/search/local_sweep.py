"""The trials of a sweep that are not done yet, side by side."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

from rich.console import Console
from rich.text import Text

from hierfit.errors import UserError
from hierfit.search.cell import Cell, sole
from hierfit.search.engines import engine
from hierfit.search.progress import Tally, shown
from hierfit.search.runner import Draw, Outcome, run
from hierfit.search.running import failed, interruptible, print_failed
from hierfit.search.study import Judge, Search
from hierfit.search.trials import Trials

JOURNAL = "trials.journal"
_HOPELESS = 5  # trials that fail before any is done


def search_here(
    trials: Trials, count: int, seed: int, jobs: int | None, cluster: str | None, console: Console
) -> tuple[Search, int]:
    """Runs trials until there are ``count``, those of earlier calls and of others at work now included.

    Args:
        trials: Their cells.
        count: In all.
        seed: Of the search.
        jobs: At once.
        cluster: See `hierfit.search.engines.engine`.
        console: For progress.

    Returns:
        The search, and how many trials failed.

    Raises:
        UserError: The data have nothing to validate on, or the first trials all failed.
    """
    file, call = trials.file, trials.folder / "calls" / uuid4().hex
    metric, outcomes = file.metric, dict[Cell, Outcome]()
    with sole(call, wait=False):
        search = Search(file, trials.folder / JOURNAL, trials.study, seed, call)
        for number in search.outside():
            console.print(Text(f"left out: trial {number}: its values are outside", "yellow"))
        before = len(search.done())
        if before >= count or search.has_target:
            console.print(Text(f"{before} trials of {file.name} are done already."))
            return search, 0
        tally = Tally(count, before)
        judges: dict[Cell, Judge] = {}

        def draws() -> Iterator[Draw]:
            while len(search.done()) + search.under_way < count and not search.has_target:
                if (found := search.propose()) is None:
                    return
                judge, number, values = found
                cell = trials.trial(number, values, judge)
                judges[cell] = judge
                yield (cell,)

        def reached(cell: Cell, outcome: Outcome) -> str:
            value = outcome.card.val.get(metric.name) if outcome.card else None
            figure = "–" if value is None else f"{metric.shown(value)} {metric.unit}".rstrip()
            return f"{cell.row}: {metric.name} {figure}"

        def best(cell: Cell) -> str:
            first = next(iter(search.done()), None)
            return f"· best {metric.shown(first.reached)} (trial {first.number})" if first else ""

        def ended(cell: Cell, outcome: Outcome) -> None:
            report(cell, outcome)
            outcomes[cell] = outcome
            lost = search.fail(judges[cell].number)
            if lost and outcome.kind == "done":
                raise UserError(f"{cell.label} has no {metric.name}: there is no validation split to search on")
            if len(failed(outcomes)) == _HOPELESS and not search.done():
                raise UserError(f"The first {_HOPELESS} trials failed: {outcome.error}", hint=f"See {cell.folder}.")

        with interruptible(tally, console), engine(trials.settings, jobs, count - before, cluster) as found:
            text = f"{file.name}: {count} trials, {before} done already, {found.jobs} at a time"
            console.print(Text(text))
            text = f"{metric.goal} {metric.name}, {file.method}; in {trials.folder}"
            console.print(Text(text), soft_wrap=True)
            with shown(tally, console, reached, best) as report:
                run(draws(), found, ended)
        console.print(Text(f"{tally} in {tally.minutes:.1f} min, {tally.per_minute:.1f} trials/min"))
        print_failed(outcomes, console)
        if not failed(outcomes) and len(search.done()) < count and not search.has_target:
            console.print(Text(f"There are no more than these {len(search.done())} trials."))
    return search, len(failed(outcomes))
