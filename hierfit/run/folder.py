"""Where a run lies: ``runs/<experiment>/<time>-s<seed>-<digest>/``, its controls in ``controls/<row>/`` inside."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hierfit.run.settings import FILE as SETTINGS


def new_run_folder(runs: Path, experiment: str, seed: int, digest: str = "") -> Path:
    """A folder name no run has used yet; nothing is created.

    Args:
        runs: Where runs lie.
        experiment: Its name.
        seed: Its seed.
        digest: What it computes; the name holds its start, for runs of other settings that begin in the same second.
    """
    trial = os.environ.get("WANDB_RUN_ID")  # agents may draw the same settings in the same second, too
    stamp = name = "-".join(filter(None, (time.strftime("%Y%m%d-%H%M%S"), f"s{seed}", digest[:4], trial)))
    attempt = 1
    while (runs / experiment / name).exists():
        attempt += 1
        name = f"{stamp}-{attempt}"
    return runs / experiment / name


def control_folder(folder: Path, row: str) -> Path:
    """Folder of a control inside its run's folder."""
    return folder / "controls" / (re.sub(r"[^\w.=-]+", "-", row).strip("-") or "control")


@contextmanager
def discarded_unless_started(folder: Path) -> Iterator[None]:
    """Removes a folder that loggers made for a run that was refused before its first step.

    A folder that was there before is left alone, and so is one whose run has started (it holds ``config.yaml``).
    """
    existed = folder.exists()
    try:
        yield
    except BaseException:
        if not existed and not (folder / SETTINGS).exists():
            shutil.rmtree(folder, ignore_errors=True)
            with suppress(OSError):  # other runs may lie beside it
                folder.parent.rmdir()
                folder.parent.parent.rmdir()
        raise
