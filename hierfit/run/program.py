"""What to type here: of a program and of a path."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path


def shown(path: Path) -> str:
    """A path as one types it here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def program() -> str:
    """What to type to run hierfit here: its name, or its path where the name would not be found."""
    called = Path(sys.argv[0])
    return shown(called) if called.name == "hierfit" and shutil.which("hierfit") is None else "hierfit"
