"""What is asked for by name, of the user's own and of hierfit's: experiments, grids, sweeps and data cards; and losses,
metrics, decoders and layouts, which may also be named by their import path."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, Generic, TypeVar

from hierfit.errors import UserError, nearest

_PACKAGE = Path(__file__).parents[1]
HOME = _PACKAGE if (_PACKAGE / "experiments").is_dir() else _PACKAGE.parent
"""Where hierfit's own lie: in an installed package, inside it; in a repository, at its top."""

BASE = "base"
"""What every experiment shares; an experiment is read on top of it."""

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class Shelf:
    """Where files of one kind are sought: the folders a variable names, the one here, hierfit's own."""

    kind: str
    folder: str
    hint: str
    variable: str = ""

    def folders(self) -> list[Path]:
        """In the order in which they are sought; they need not exist."""
        chosen = [Path(part) for part in os.environ.get(self.variable, "").split(os.pathsep) if part]
        return list(dict.fromkeys([*chosen, Path.cwd() / self.folder, HOME / self.folder]))

    def files(self) -> dict[str, Path]:
        """Every file by its name; of those of one name, the one that is found first."""
        found = {path.stem: path for folder in reversed(self.folders()) for path in folder.glob("*.yaml")}
        return {name: found[name] for name in sorted(found) if name != BASE}

    def find(self, name: str) -> Path:
        """The file of a name, or the file at a path.

        One below `folder` that is not here (``experiments/base.yaml`` in a folder without experiments) is hierfit's.
        """
        path = Path(name).expanduser()
        is_path = path.suffix in (".yaml", ".yml")
        if is_path:
            places = [path, HOME / path] if path.is_relative_to(self.folder) else [path]
        else:
            places = [*(folder / f"{name}.yaml" for folder in self.folders()), Path(f"{name}.yaml"), path]
        if found := next((place for place in places if place.is_file()), None):
            return found
        if is_path:
            raise UserError(f"there is no file {path}", hint=self.hint)
        sought = [f"sought in {folder}" for folder in self.folders()]
        raise UserError(f"there is no {self.kind} {name!r}{nearest(name, self.files())}", sought, self.hint)


_LIST = "`hierfit experiments` lists what there is."
EXPERIMENTS = Shelf("experiment", "experiments", _LIST)
GRIDS = Shelf("grid", "experiments/grids", _LIST)
SWEEPS = Shelf("sweep", "experiments/sweeps", _LIST)
CARDS = Shelf(
    "card",
    "data_cards",
    "`hierfit data list` lists them, `hierfit data new FOLDER` makes one. Give the path of a YAML file, or set "
    "HIERFIT_CARDS to the folder of your cards.",
    "HIERFIT_CARDS",
)


def experiment_files(name: str) -> list[Path]:
    """The configuration files of an experiment: what all share, from beside it or hierfit's own, and its own."""
    own = EXPERIMENTS.find(name)
    if own.is_file() and re.search(r"^layout:", own.read_text(encoding="utf-8", errors="replace"), re.MULTILINE):
        command = f"hierfit fit lathadapter_fewshot --data.card {shlex.quote(str(own))}"
        raise UserError(f"{own} is a data card, and no experiment: {command}")
    beside = own.with_name(f"{BASE}.yaml")
    base = beside if beside.is_file() else EXPERIMENTS.find(BASE)
    return [own] if own.stem == BASE else [base, own]


class Registry(dict[str, Any], Generic[Entry]):
    """Things of one kind by name, or import paths of them. `find` also takes the import path of one that a user wrote:
    ``my_file.my_loss``."""

    def __init__(self, kind: str, known: Mapping[str, Entry | str]) -> None:
        super().__init__(known)
        self.kind = kind

    def find(self, name: str) -> Entry:
        """What a name or an import path stands for."""
        if name not in self and "." not in name:
            raise UserError(f"there is no {self.kind} {name!r}{nearest(name, self)}")
        known = self.get(name, name)
        found: Entry = imported(known, self.kind) if isinstance(known, str) else known
        return found


def imported(path: str, kind: str) -> Any:
    """What stands at an import path ``module.name``."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(import_module(module), name)
    except Exception as error:  # whatever a user's file raises while it is imported
        reason = f"{type(error).__name__}: {error}"
        raise UserError(f"{kind} {path!r} cannot be imported: {reason}") from error
