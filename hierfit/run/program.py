"""This process among others, and what to type to run another one."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path


def process_number() -> int:
    """Number of this process among those that torchrun, SLURM or Lightning have started; 0 for the first."""
    numbers = (int(os.environ.get(name) or 0) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    return next(filter(None, numbers), 0)


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
