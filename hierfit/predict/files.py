"""What ``hierfit predict`` is given (images, folders and lists of them, feature bundles), and what it writes."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor
from torch.nn.functional import normalize

from hierfit.data.images import pictures_below
from hierfit.data.records import read_by_column, read_lines
from hierfit.errors import UserError, nearest
from hierfit.predict.answer import Answer

_BETWEEN = {".csv": ",", ".tsv": "\t"}
BUNDLE_SUFFIX = ".safetensors"
_PATH = "path"

Named = Iterable[tuple[str, Sequence[Answer]]]
"""Images with their answers, best first."""


def pictures(inputs: Sequence[str], stdin: Iterable[str]) -> list[Path]:
    """The files that inputs stand for, in order; raises `UserError` with every input that is not there or no image.

    Args:
        inputs: An image; a folder, for all images below it; a ``.txt`` with a path a line, or a ``.csv`` or ``.tsv``
            with a column ``path``, relative to where it lies; ``-`` for a path a line on `stdin`.
        stdin: Its lines.
    """
    found, problems = list[Path](), list[str]()
    for given in inputs:
        path = Path(given)
        suffix = path.suffix.lower()
        try:
            if given == "-":
                found += [Path(line.strip()) for line in stdin if line.strip()]
            elif path.is_dir():
                inside = list(pictures_below(path))
                problems += [] if inside else [f"{given}: there is no image below this folder"]
                found += inside
            elif not path.is_file():
                problems.append(f"{given}: there is no such file or folder")
            elif suffix == ".txt":
                found += [path.parent / text for _, text in read_lines(path)]
            elif suffix in _BETWEEN:
                found += [path.parent / cell for cell in _paths_listed(path, _BETWEEN[suffix])]
            elif suffix == BUNDLE_SUFFIX:
                problems.append(f"{given}: a feature bundle goes alone")
            else:
                found.append(path)
        except UserError as error:
            problems += error.problems or (error.summary,)
    if problems or not found:
        raise UserError("there is nothing to predict from", problems or ["nothing is named"])
    return found


def _paths_listed(path: Path, between: str) -> list[str]:
    """The paths of a list with columns."""
    found = []
    for line, cells, _ in read_by_column(path, [_PATH], between):
        if _PATH not in cells:
            raise UserError(f"{path}: line {line} has no cell in column {_PATH!r}")
        found.append(cells[_PATH])
    return found


def bundle_features(path: Path, split: str, width: int) -> tuple[list[str], Tensor, str]:
    """Names and L2-normalised features ``[n, d]`` of a split of a feature bundle, and what made them."""
    from hierfit.data.bundle import read_bundle

    bundle = read_bundle(path)
    if split not in bundle.splits:
        raise UserError(f"{path}: there is no split {split!r}{nearest(split, bundle.splits)}")
    features = normalize(bundle.splits[split].features.float(), dim=-1)
    if features.shape[1] != width:
        raise UserError(f"{path}: its features are {features.shape[1]} wide, the model takes {width}")
    return [f"{split}/{row}" for row in range(len(features))], features, bundle.backbone


def answers_as_table(file: TextIO, levels: Sequence[str], top: int, named: Named) -> None:
    """One row an answer, a column a level: the name, and its probability. Printed at the end, for it has widths."""
    rows = list(named)
    folders = {os.path.dirname(name) for name, _ in rows}
    shared = os.path.commonpath(folders) if folders and "" not in folders else ""  # by all images: said once
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("image", *levels):
        table.add_column(title, overflow="fold")
    for name, answers in rows:
        shown = os.path.relpath(name, shared) if shared else name
        for place, answer in enumerate(answers):
            cells = zip(answer.path, answer.probabilities, strict=True)
            texts = [Text.assemble(label, (f" {p:.2f}", "dim")) for label, p in cells] or [Text("unsure", "dim")]
            table.add_row(Text("" if place else shown), *texts)
    console = Console(file=file, width=None if file.isatty() else 120)
    if shared:
        console.print(Text(f"in {shared}", "dim"), soft_wrap=True)
    console.print(table)


def answers_as_csv(file: TextIO, levels: Sequence[str], top: int, named: Named) -> None:
    """``image,<level>,p(<level>),…``; with several answers an image, ``place`` counts them from 1."""
    header = [column for level in levels for column in (level, f"p({level})")]
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["image", *["place"] * (top > 1), *header])
    for name, answers in named:
        for number, answer in enumerate(answers, 1):
            cells = [cell for v, p in zip(answer.path, answer.probabilities, strict=True) for cell in (v, f"{p:.4f}")]
            writer.writerow([name, *[number] * (top > 1), *cells, *[""] * (len(header) - len(cells))])


def answers_as_json_lines(file: TextIO, levels: Sequence[str], top: int, named: Named) -> None:
    """One object an image: ``image``, ``path``, ``p``; with several answers the others under ``more``."""
    for name, answers in named:
        first, *others = [{"path": a.path, "p": [round(p, 6) for p in a.probabilities]} for a in answers]
        more = {"more": others} if top > 1 else {}
        file.write(json.dumps({"image": name, **first, **more}, ensure_ascii=False) + "\n")


ANSWER_WRITERS: dict[str, Callable[[TextIO, Sequence[str], int, Named], None]] = {
    "table": answers_as_table,
    "csv": answers_as_csv,
    "jsonl": answers_as_json_lines,
}
SUFFIXES = {".csv": "csv", ".jsonl": "jsonl", ".json": "jsonl", ".txt": "table"}
