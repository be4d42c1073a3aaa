"""``hierfit experiments`` and ``hierfit init``: what hierfit brings to run, and a copy of one to change."""

from __future__ import annotations

import re
import shlex
import shutil
from itertools import takewhile
from pathlib import Path
from textwrap import fill
from typing import Annotated

from hierfit.atomic import whole_file
from hierfit.config.command import Say
from hierfit.config.named import EXPERIMENTS, GRIDS, SWEEPS, Shelf
from hierfit.errors import UserError, nearest
from hierfit.streams import program

_COMMANDS = {EXPERIMENTS: "fit", GRIDS: "grid", SWEEPS: "sweep"}
_MAKE = re.compile(r"\bmake (?:train|grid|sweep) [A-Z]+=\w+(?: ARGS=(?:\"(.*)\"|(\S+)))?")  # in its first comment
_NAME = re.compile(r"^name: .*$", re.MULTILINE)


def experiments() -> None:
    """List experiments, grids and sweeps by name, with what each of them asks."""
    width = min(shutil.get_terminal_size().columns, 100)
    for shelf, command in _COMMANDS.items():
        print(f"{shelf.kind}s: {program()} {command} NAME")
        files = shelf.files()
        indent = max(map(len, files), default=0) + 4
        for name, path in files.items():
            first, below = f"  {name}".ljust(indent), " " * indent
            print(fill(_asked(path), width, initial_indent=first, subsequent_indent=below, break_on_hyphens=False))
        print()
    print(f"`{program()} init NAME` copies one to change (init grids/NAME, init sweeps/NAME).")


def _asked(path: Path) -> str:
    """What a file says of itself: its first comment."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return " ".join(line.strip("# ") for line in takewhile(lambda line: line[:1] == "#" and line.strip("# "), lines))


def init(
    name: Annotated[str, Say("of an experiment; grids/NAME and sweeps/NAME of those")],
    *,
    out: Annotated[Path | None, Say("the copy (NAME.yaml, here); must not exist", "FILE")] = None,
) -> None:
    """Copy an experiment, a grid or a sweep to change it; runs of the copy have its name.

    Raises:
        UserError: There is none of this name, or the copy is there already.
    """
    shelf, path = _sought(name)
    out = out or Path(path.name)
    if out.suffix not in (".yaml", ".yml"):
        raise UserError(f"{out}: a copy is written as .yaml.")
    if out.exists():
        raise UserError(f"{out} exists already.", hint="Name another file: --out FILE.")
    command = f"{program()} {_COMMANDS[shelf]} {shlex.quote(str(out))}"
    text = path.read_text(encoding="utf-8")
    text = _MAKE.sub(lambda made: " ".join(filter(None, (command, made[1], made[2]))), text, count=1)
    with whole_file(out) as draft:
        draft.write_text(_NAME.sub(f"name: {out.stem}", text, count=1), encoding="utf-8")
    print(f"Written to {out}, from {path}. To run it:")
    print(f"  {command}")


def _sought(name: str) -> tuple[Shelf, Path]:
    """The file of a name, and what it is: an experiment before a grid before a sweep."""
    folder, _, own = name.rpartition("/")
    shelves = [shelf for shelf in _COMMANDS if not folder or Path(shelf.folder).name == folder]
    for shelf in shelves:
        if own in shelf.files():
            return shelf, shelf.files()[own]
    every = [f"{shelf.folder}/{file}".removeprefix("experiments/") for shelf in _COMMANDS for file in shelf.files()]
    raise UserError(f"There is no experiment, grid or sweep {name!r}{nearest(name, every)}.".replace("?.", "?"))
