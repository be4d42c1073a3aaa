"""A run among others (a cell): where it lies, when it counts as done; and how many run at once."""

from __future__ import annotations

import queue
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from hierfit.atomic import sole
from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.run.folder import RunState
from hierfit.streams import file_name

if TYPE_CHECKING:
    from lightning import Callback

    from hierfit.run.configure import Config

LOG = "log.txt"
"""All that a run printed, and why it failed."""

DEFAULTS = (
    "--wandb=disabled",
    "--trainer.enable_progress_bar=false",
    "--save_every=null",  # a cell that was interrupted starts over
)
"""What every cell sets otherwise than a run; configuration files and own keys come after."""


class Follower(Protocol):
    """Whoever follows a cell in the process that runs it; it is sent there."""

    def watchers(self) -> Sequence[Callback]:
        """Callbacks of the trainer."""

    def conclude(self, card: ResultCard) -> None:
        """The cell is done."""


@dataclass(frozen=True)
class RunCell:
    """A run among others."""

    card: str
    config: Config = field(repr=False, compare=False)
    folder: Path
    follower: Follower | None = field(default=None, repr=False, compare=False)

    @classmethod
    def of(cls, grid: Path, card: str, config: Config) -> RunCell:
        """A cell in ``<grid>/<card>/<row>/<shots>-s<seed>-<digest>``."""
        return cls(
            card, config, grid / file_name(card) / file_name(config.row) / f"{_draw(config)}-{config.digest[:8]}"
        )

    @property
    def row(self) -> str:
        """Name of the row."""
        return self.config.row

    @property
    def seed(self) -> int:
        """Of the run."""
        return self.config.seed

    @property
    def draw(self) -> tuple[str, str]:
        """What it shares its data with: cells of one draw read the same samples."""
        return self.card, _draw(self.config)

    @property
    def label(self) -> str:
        """``fieldguide/LatHAdapter/16-s1``."""
        return f"{self.card}/{self.row}/{_draw(self.config)}"


def _draw(config: Config) -> str:
    shots = config.settings["data"]["shots"]
    return f"{'all' if shots is None else shots}-s{config.seed}"


def finished(cell: RunCell) -> ResultCard | None:
    """The result card of a cell that is done: a run of these very settings has its result, and that can be read."""
    if not RunState.found(cell.folder, cell.config.digest).has_result:
        return None
    with suppress(UserError):
        card = ResultCard.read(cell.folder)
        return card if (card.row, card.seed) == (cell.row, cell.seed) else None
    return None


def state(cell: RunCell) -> Literal["done", "running", "broken", "to do"]:
    """How things stand; anything in the folder of a cell that is neither done nor running is broken."""
    if finished(cell):
        return "done"
    if not cell.folder.exists():
        return "to do"
    with sole(cell.folder, wait=False) as mine:
        return "broken" if mine else "running"


@dataclass(frozen=True)
class Outcome:
    """What becomes of a cell.

    Busy: another grid is at work on it. A mistake: the error is one of its settings or data.
    """

    kind: Literal["done", "failed", "busy"]
    seconds: float = 0.0
    card: ResultCard | None = None
    error: str = ""
    mistake: bool = False

    @property
    def first_line(self) -> str:
        """Of the error."""
        return self.error.partition("\n")[0]


Draw = tuple[RunCell, ...]
Reporter = Callable[[RunCell, Outcome], None]


class Engine(NamedTuple):
    """Where draws run.

    Submitting starts one; each cell's outcome goes to the report when it is known, and all are the future's result.
    """

    jobs: int
    submit: Callable[[Draw, bool, Reporter], Future[list[Outcome]]]


def run(draws: Iterable[Draw], engine: Engine, report: Reporter, tick: Callable[[], None] = lambda: None) -> None:
    """Runs draws; each cell ends in one report, in this thread.

    The next draw is asked for whenever there is room for it; in between there is a tick every second.
    """
    coming, busy = iter(draws), list[RunCell]()
    running: dict[Future[list[Outcome]], Draw] = {}
    news: queue.SimpleQueue[tuple[RunCell, Outcome] | Future[list[Outcome]]] = queue.SimpleQueue()
    seen: set[RunCell] = set()

    def received(cell: RunCell, outcome: Outcome) -> None:
        if cell not in seen:
            seen.add(cell)
            busy.append(cell) if outcome.kind == "busy" else report(cell, outcome)

    def start(draw: Draw, waits: bool) -> None:
        seen.difference_update(draw)
        future = engine.submit(draw, waits, lambda cell, outcome: news.put((cell, outcome)))
        running[future] = draw
        future.add_done_callback(news.put)

    while True:
        while len(running) < engine.jobs and (draw := next(coming, None)):
            start(draw, False)
        if not running and busy:  # what others are at work on comes last, and is waited for
            while busy:
                start((busy.pop(),), True)
        if not running:
            return
        try:
            found = news.get(timeout=1)
        except queue.Empty:
            tick()
            continue
        if isinstance(found, tuple):
            received(*found)
            continue
        draw = running.pop(found)
        try:
            outcomes = found.result()
        except Exception as error:  # of the engine
            outcomes = [Outcome("failed", error=f"{type(error).__name__}: {error}")] * len(draw)
        for cell, outcome in zip(draw, outcomes, strict=True):
            received(cell, outcome)


def in_draws(cells: Sequence[RunCell], jobs: int) -> list[Draw]:
    """Cells by draw, in order; the last draws, too few for all jobs, are shared out among them."""
    found: dict[object, list[RunCell]] = defaultdict(list)
    for cell in cells:
        found[cell.draw].append(cell)
    draws = [tuple(draw) for draw in found.values()]
    if not (left := len(draws) % jobs):
        return draws
    parts = -(-jobs // left)
    return [*draws[:-left], *(draw[i::parts] for draw in draws[-left:] for i in range(min(parts, len(draw))))]
