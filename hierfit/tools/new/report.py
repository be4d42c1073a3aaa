"""What `hierfit data new` prints when it is done."""

from __future__ import annotations

import posixpath
import shlex
from collections import Counter

from rich.console import Console
from rich.text import Text

from hierfit.backbone.source import REAL, TINY_NOTE
from hierfit.config.named import CARDS
from hierfit.tools.check.audit import UNREADABLE
from hierfit.tools.check.report import print_audit
from hierfit.tools.new.new import Written
from hierfit.tools.printing import counted, print_hanging

_SHOTS = 16  # of the experiment named below


def print_written(written: Written, console: Console | None = None) -> None:
    """Prints what was concluded, what the data are like, what was written, and what to do next."""
    console = console or Console()
    console.print(Text("How the data were read (the card says it again, and can be changed)", "bold"))
    remarks = list(written.found.remarks)
    if written.left_out:
        kinds = Counter(_reason(key, why) for key, why in written.left_out.items())
        reasons = ", ".join(f"{count} {reason}" for reason, count in kinds.most_common())
        remarks.append(f"{counted(len(written.left_out), 'picture')} left out ({reasons}); the card says which.")
    if written.audit.passed_by:
        remarks.append("The pictures were not looked at: damaged ones and copies may be among them.")
    for remark in remarks:
        print_hanging(console, remark, "", 2, "- ")
    console.print()
    print_audit(written.audit, console)
    console.print()
    card, *others = written.files
    names = [str(card), *(file.name for file in others)]
    console.print(Text(f"Written: {', '.join(names[:-1])} and {names[-1]}", "bold green"), soft_wrap=True)
    console.print()
    console.print("Next:")
    for command in _next(written):
        console.print(Text(f"  {command}"), soft_wrap=True)
    if written.found.layout["name"] != "feature_bundle":
        print_hanging(console, TINY_NOTE)


def _reason(key: str, why: str) -> str:
    reason = why.partition(": ")[0] if ": " in why else why.partition(" as ")[0]
    return f"{reason} ({posixpath.splitext(key)[1].lower()})" if why == UNREADABLE else reason


def _next(written: Written) -> list[str]:
    known = written.path.parent.resolve() in [folder.resolve() for folder in CARDS.folders()]
    card = shlex.quote(written.path.stem if known else str(written.path))
    tower = "" if written.found.layout["name"] == "feature_bundle" else f" --data.backbone {REAL}"
    if written.found.test_only:
        train = f"--data.card SOURCE --data.targets '{{{card}: null}}'"
        return [f"hierfit data check {card}", f"hierfit fit lathadapter_cross_dataset {train}{tower}"]
    labels = written.audit.splits.get("train")  # a file of features may have ready draws instead
    few = " --data.shots_policy all" if labels and 0 < labels.fewest < _SHOTS else ""
    return [
        f"hierfit data prompts {card}",
        f"hierfit data check {card}",
        f"hierfit fit lathadapter_fewshot --data.card {card}{tower}{few}",
    ]
