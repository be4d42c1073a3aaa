"""What `hierfit data new` prints when it is done."""

from __future__ import annotations

import posixpath
import shlex
from collections import Counter

from rich.console import Console
from rich.text import Text

from hierfit.backbone.aliases import REAL, TINY_NOTE
from hierfit.data.card import card_folders
from hierfit.tools.check.audit import UNREADABLE
from hierfit.tools.check.report import print_audit
from hierfit.tools.lines import counted, print_hanging
from hierfit.tools.new.new import Written
from hierfit.tools.new.write import samples_file

_SHOTS = 16  # of the experiment named below


def print_written(written: Written, console: Console | None = None) -> None:
    """Prints what was concluded, what the data are like, and what to do next."""
    console = console or Console()
    print_audit(written.audit, console)
    console.print()
    path, found = written.path, written.found
    files = [str(path), path.with_suffix(".csv").name, *([samples_file(path.stem)] if found.samples else [])]
    console.print(Text(f"Written: {', '.join(files[:-1])} and {files[-1]}", "bold"), soft_wrap=True)
    for remark in found.remarks:
        print_hanging(console, remark, "", 2, "- ")
    if written.left_out:
        left_out = counted(len(written.left_out), "picture")
        kinds = Counter(_reason(key, why) for key, why in written.left_out.items())
        reasons = ", ".join(f"{count} {reason}" for reason, count in kinds.most_common())
        print_hanging(console, f"{left_out} left out ({reasons}); the card says which.", "", 2, "- ")
    console.print()
    console.print("Next:")
    for command in _next(written):
        console.print(Text(f"  {command}"), soft_wrap=True)
    if found.layout["name"] != "feature_bundle":
        print_hanging(console, TINY_NOTE)


def _reason(key: str, why: str) -> str:
    reason = why.partition(": ")[0] if ": " in why else why.partition(" as ")[0]
    return f"{reason} ({posixpath.splitext(key)[1].lower()})" if why == UNREADABLE else reason


def _next(written: Written) -> list[str]:
    known = written.path.parent.resolve() in [folder.resolve() for folder in card_folders()]
    card = shlex.quote(written.path.stem if known else str(written.path))
    tower = "" if written.found.layout["name"] == "feature_bundle" else f" --data.backbone {REAL}"
    if written.found.test_only:
        train = f"--data.card SOURCE --data.targets '{{{card}: null}}'"
        return [f"hierfit data check {card}", f'make train EXP=lathadapter_cross_dataset ARGS="{train}{tower}"']
    few = " --data.shots_policy all" if 0 < written.audit.splits["train"].fewest < _SHOTS else ""
    return [
        f"hierfit data prompts {card}",
        f"hierfit data check {card}",
        f'make train EXP=lathadapter_fewshot ARGS="--data.card {card}{tower}{few}"',
    ]
