"""``hierfit data new``: find what lies in a folder, try a card on it, write what has passed, say what is next."""

from __future__ import annotations

import posixpath
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from hierfit.atomic import whole_file
from hierfit.backbone.source import REAL, TINY_NOTE
from hierfit.data.samples import SPLITS
from hierfit.errors import UserError
from hierfit.streams import print_hanging
from hierfit.taxonomy.checks import counted
from hierfit.tools.check.audit import UNREADABLE, Audit
from hierfit.tools.check.duplicates import on_one_path
from hierfit.tools.check.report import fit_command, print_audit, print_next, typed_name
from hierfit.tools.new.card import CardDraft
from hierfit.tools.new.find import find_data
from hierfit.tools.new.found import Found, Options

_NO_WORD = re.compile(r"-?\d+|n\d{8}|/m/\w+")  # numbers, ids of WordNet and Freebase


@dataclass(frozen=True)
class Written:
    """The card, its tree and perhaps a table of samples; what was concluded, and what the data are like."""

    files: tuple[Path, ...]
    found: Found
    audit: Audit

    @property
    def path(self) -> Path:
        """The card."""
        return self.files[0]


def new_card(
    root: Path, out: Path | None, options: Options, kind: str | None = None, workers: int = 1, pictures: bool = True,
    force: bool = False,
) -> Written:  # fmt: skip
    """Writes a data card and its tree, and a table of samples where the data's own is not plain.

    Pictures that cannot be used are left out; so are the copies of one picture that would stand in two splits or under
    two labels, and classes that have no picture then. Nothing is written unless the card reads the data without a
    problem. The arguments are those of `hierfit data new`.

    Raises:
        UserError: There is nothing to make a card of, the outcome would not fit the data, or a file is there already.
    """
    root = root.expanduser()
    if out is None:
        whole = root.absolute().resolve()
        name = re.sub(r"[^\w-]", "_", whole.stem if root.is_file() else whole.name).strip("_").casefold() or "my_data"
        out = (Path("data_cards") if Path("data_cards").is_dir() else Path()) / f"{name}.yaml"
    if out.suffix not in (".yaml", ".yml"):
        raise UserError(f"--out {out}: a card is a .yaml file")
    found = find_data(root, options)
    leaves = [found.taxonomy.names[leaf] for leaf in found.taxonomy.leaves.tolist()]
    if len(leaves) < 2:
        hint = "Give the folder that holds the folders of classes, or a table with --label-columns."
        what = f"all pictures of {root} have one class, {leaves[0]!r}: there is nothing to tell apart"
        raise UserError(what, hint=hint)
    if all(map(_NO_WORD.fullmatch, leaves)):
        found.remarks.append("The labels are numbers or ids, which say nothing to a text tower: give them names in the "
                             "card, under `names`.")  # fmt: skip
    with tempfile.TemporaryDirectory() as scratch:
        draft = CardDraft(Path(scratch) / out.name, found, kind)
        files = tuple(out.with_name(file.name) for file in draft.files)
        if (there := [str(file) for file in files if file.exists()]) and not force:
            hint = "Name another with --out, or add --force."
            raise UserError(f"{' and '.join(there)} would be overwritten", hint=hint)
        first = draft.audited(workers, pictures)
        if first.pictures is not None and first.unreadable and not first.pictures.readable.any():
            shown = list(first.unreadable.values())[:3]
            raise UserError(f"none of the {len(first.unreadable)} pictures of {root} can be read", shown)
        found.left_out |= _left_out(first)
        draft.drop_empty(first)
        left = draft.audited(workers, pictures=False)
        draft.splits = {n: {"images": x.images, "leaves": x.leaves} for n, x in left.splits.items() if x.images}
        last = draft.audited(workers, pictures, first)
        if last.problems:
            raise UserError(f"no card can be made of {root} as it is", last.problems, "Mend this, then try again.")
        out.parent.mkdir(parents=True, exist_ok=True)
        for file in reversed(files):  # the card last: it needs the others
            with whole_file(file) as partial:
                shutil.copyfile(draft.path.with_name(file.name), partial)
    return Written(files, found, last)


def _left_out(first: Audit) -> dict[str, str]:
    """Pictures that spoil the data: unreadable, or copies of another."""
    out = dict.fromkeys(first.unreadable, UNREADABLE)
    for group in first.exact:
        keys = [key for key in group if key not in out]
        if first.taxonomy is None or on_one_path(first.taxonomy, [first.places[key][1] for key in keys]):
            # What is tested stays: of equal pictures the one in the latest split.
            keep = max(keys, key=lambda key: (SPLITS.index(first.places[key][0]), -keys.index(key)), default="")
            out |= {key: f"the same as {keep}" for key in keys if key != keep}
        else:
            other = {key: keys[key == keys[0]] for key in keys}
            out |= {key: f"the same picture has two labels: {other[key]}" for key in keys}
    return out


def print_written(written: Written) -> None:
    """Prints what was concluded, what the data are like, what was written, and what to do next."""
    console = Console()
    console.print(Text("How the data were read (the card says it again, and can be changed)", "bold"))
    remarks = list(written.found.remarks)
    if left_out := written.found.left_out:
        kinds = Counter(
            f"cannot be read ({posixpath.splitext(key)[1].lower()})" if why == UNREADABLE
            else "copies of another" if why.startswith("the same as") else why.partition(": ")[0]
            for key, why in left_out.items()
        )  # fmt: skip
        reasons = ", ".join(f"{count} {reason}" for reason, count in kinds.most_common())
        remarks.append(f"{counted(len(left_out), 'picture')} left out ({reasons}); the card says which.")
    if written.audit.passed_by:
        remarks.append("The pictures were not looked at: damaged ones and copies may be among them.")
    for remark in remarks:
        print_hanging(console, remark, "", 2, "- ")
    console.print()
    print_audit(written.audit, console)
    *names, last = [str(written.path), *(file.name for file in written.files[1:])]
    console.print(Text(f"\nWritten: {', '.join(names)} and {last}", "bold green"), soft_wrap=True)
    name, encoded = typed_name(written.path), written.found.layout["name"] == "feature_bundle"
    if written.found.test_only:
        train = f"fit lathadapter_cross_dataset --data.card SOURCE --data.targets '{{{name}: null}}'"
        print_next(console, [f"data check {name}", train + ("" if encoded else f" --data.backbone {REAL}")])
    else:
        print_next(console, [f"data prompts {name}", f"data check {name}", fit_command(written.audit, written.path)])
    if not encoded:
        print_hanging(console, TINY_NOTE)
