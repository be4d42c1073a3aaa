"""What `hierfit data new` says when it is done."""

from __future__ import annotations

import shlex

from rich.console import Console
from rich.text import Text

from hierfit.data.card import card_folders
from hierfit.tools.check.report import print_audit
from hierfit.tools.lines import counted, print_hanging
from hierfit.tools.new.new import Written

_SHOTS = 16  # of the experiment named below


def print_written(written: Written, console: Console | None = None) -> None:
    """Prints what was concluded, what the data are like, and what to do next."""
    console = console or Console()
    print_audit(written.audit, console)
    console.print()
    console.print(Text(f"Written: {written.path} and {written.path.with_suffix('.csv').name}", "bold"), soft_wrap=True)
    for remark in written.found.remarks:
        print_hanging(console, remark, "", 2, "- ")
    if written.left_out:
        left_out = counted(len(written.left_out), "picture")
        print_hanging(console, f"{left_out} left out; the card says which and why.", "", 2, "- ")
    known = written.path.parent.resolve() in [folder.resolve() for folder in card_folders()]
    card, root = shlex.quote(written.path.stem if known else str(written.path)), shlex.quote(str(written.root))
    few = " --data.shots_policy all" if 0 < written.audit.splits["train"].fewest < _SHOTS else ""
    console.print()
    console.print("Next:")
    for command in (
        f"hierfit data prompts {card}",
        f"hierfit data check {card} --root {root}",
        f'make train EXP=lathadapter_fewshot ARGS="--data.card {card} --data.root {root}{few}"',
    ):
        console.print(Text(f"  {command}"), soft_wrap=True)
