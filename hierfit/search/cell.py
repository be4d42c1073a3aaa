"""One run of a grid: where it lies, when it counts as done, and who is at work on it."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from hierfit.atomic import whole_file
from hierfit.results.card import ResultCard

if TYPE_CHECKING:
    from lightning import Callback

    from hierfit.config.settings import Setting

SEAL = "cell.json"
"""Written last: a run without it has not finished."""
LOG = "log.txt"
"""All that a run printed, and why it failed."""

FORMAT = "hierfit.cell/1"

DEFAULTS: dict[str, Any] = {
    "wandb": "disabled",
    "trainer.enable_progress_bar": False,
    "save_every": None,  # a cell that was interrupted starts over
}
"""What every cell sets otherwise than a run; configuration files and own keys come after."""

State = Literal["done", "running", "broken", "to do"]


class Follower(Protocol):
    """Whoever follows a cell in the process that runs it; it is sent there."""

    def watchers(self) -> Sequence[Callback]:
        """Callbacks of the trainer."""

    def conclude(self, card: ResultCard) -> None:
        """The cell is done."""


@dataclass(frozen=True)
class Cell:
    """A run: what ``hierfit fit`` does with ``arguments``.

    Attributes:
        card: Name of the data card in the grid.
        row: Name of the row.
        shots: Images a leaf; None for all.
        seed: Of the run.
        arguments: Command line after ``fit``, without the folder; settings of a file with their places.
        settings: The resolved configuration, as plain containers.
        digest: sha256 (hex) of the settings that decide the figures, the data card's content and hierfit's version.
        folder: Where it leaves its files.
        follower: Who follows it, if anybody.
    """

    card: str
    row: str
    shots: int | None
    seed: int
    arguments: tuple[str | Setting, ...] = field(repr=False, compare=False)
    settings: Mapping[str, Any] = field(repr=False, compare=False)
    digest: str
    folder: Path
    follower: Follower | None = field(default=None, repr=False, compare=False)

    @property
    def draw(self) -> tuple[str, int | None, int]:
        """What it shares its data with: cells of one draw read the same samples."""
        return self.card, self.shots, self.seed

    @property
    def label(self) -> str:
        """``fieldguide/LatHAdapter/16-s1``."""
        return f"{self.card}/{self.row}/{_draw_name(self.shots, self.seed)}"


def cell_folder(grid: Path, card: str, row: str, shots: int | None, seed: int, digest: str) -> Path:
    """``<grid>/<card>/<row>/<shots>-s<seed>-<digest>``."""
    return grid / _file_name(card) / _file_name(row) / f"{_draw_name(shots, seed)}-{digest[:8]}"


def option(key: str, value: object) -> str:
    """A setting as one writes it on a command line."""
    return f"--{key}={value if isinstance(value, str) else json.dumps(value)}"


def finished(cell: Cell) -> ResultCard | None:
    """The result card of a cell that is done: its seal states these very settings, and its result can be read."""
    try:
        seal = json.loads((cell.folder / SEAL).read_text(encoding="utf-8"))
        card = ResultCard.read(cell.folder)
    except (OSError, ValueError, TypeError):
        return None
    sealed = isinstance(seal, dict) and seal.get("format") == FORMAT and seal.get("digest") == cell.digest
    return card if sealed and (card.row, card.seed) == (cell.row, cell.seed) else None


def seal(cell: Cell) -> None:
    """States that a cell is done."""
    words = [word if isinstance(word, str) else option(word.key, word.value) for word in cell.arguments]
    content = {"format": FORMAT, "digest": cell.digest, "arguments": words, "settings": cell.settings}
    with whole_file(cell.folder / SEAL) as draft:
        draft.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def state(cell: Cell) -> State:
    """How things stand; anything in the folder of a cell that is neither done nor running is broken."""
    if finished(cell):
        return "done"
    if not cell.folder.exists():
        return "to do"
    with sole(cell.folder, wait=False) as mine:
        return "broken" if mine else "running"


@contextmanager
def sole(folder: Path, wait: bool) -> Iterator[bool]:
    """Keeps every other process off a folder while the block runs; the kernel lets go of it when this process dies.

    Args:
        folder: Need not exist; the lock lies beside it.
        wait: Wait until nobody else is at work on it.

    Returns:
        Whether it is ours; False only without ``wait``.
    """
    path = folder.with_name(f".{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            os.close(descriptor)
            yield False
            return
        if _is(path, descriptor):
            break
        os.close(descriptor)  # whoever held it has removed it since it was opened
    try:
        yield True
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.=-]+", "-", name).strip("-.") or "row"


def _draw_name(shots: int | None, seed: int) -> str:
    return f"{'all' if shots is None else shots}-s{seed}"
