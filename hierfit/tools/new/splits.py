"""The split of each row of a table: by its file, by a column, or by none."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hierfit.config.schema import nearest
from hierfit.errors import UserError
from hierfit.tools.new.found import TEST_ONLY, Options, split_of, split_word, tested
from hierfit.tools.new.records import Columns, Records
from hierfit.tools.new.spelling import is_known

_IS_SPLIT = re.compile(r"is_?(train|test|val)\w*", re.IGNORECASE)


def splits_of(
    parts: Mapping[str, Records], columns: Columns, path: str, options: Options, remarks: list[str]
) -> tuple[dict[str, str], list[str | None], tuple[str, ...] | None]:
    """Own names of the splits, the one of each row, and the columns that say it; nothing where none does."""
    if "" not in parts:  # a table for each
        of_files: list[str | None] = [split for split, part in parts.items() for _ in next(iter(part.columns.values()))]
        return {split: split for split in parts}, of_files, None
    if (grouped := parts[""].splits) is not None:
        remarks.append("Splits are those of the file.")
        return split_of(dict.fromkeys(grouped)), list(grouped), None
    found = _split_column(columns, path, options)
    if found is None:
        remarks.append("No column tells the split; splits are drawn in each class, by a hash of each picture's path.")
        return {}, [None] * len(columns[path]), None
    names, cells = found
    if len(names) == 1:
        remarks.append(f"Column {names[0]!r} is the split.")
    else:
        remarks.append(f"Columns {', '.join(map(repr, names))} are the split.")
    return split_of(dict.fromkeys(filter(None, cells))), cells, names


def _split_column(columns: Columns, path: str, options: Options) -> tuple[tuple[str, ...], list[str | None]] | None:
    if options.split:
        if options.split not in columns:
            raise UserError(f"--split-column: there is no column {options.split!r}{nearest(options.split, columns)}")
        if unknown := sorted({cell for cell in columns[options.split] if is_known(cell) and not split_word(cell)}):
            raise UserError(
                f"--split-column: {options.split!r} holds what is no split: {', '.join(unknown[:5])}",
                hint="Splits are called train, val and test, or nearly so (training, valid, dev, testing).",
            )
        return (options.split,), [cell if is_known(cell) else None for cell in columns[options.split]]
    for name, cells in columns.items():
        kinds = {cell for cell in cells if is_known(cell)}
        if name == path or not kinds:
            continue
        if all(map(split_word, kinds)) and (len(kinds) > 1 or split_word(next(iter(kinds))) == "test"):
            return (name,), [cell if is_known(cell) else None for cell in cells]
        if (is_split := _IS_SPLIT.fullmatch(name)) and kinds <= {"0", "1", "True", "False", "true", "false"}:
            own = is_split[1].lower()
            other = "test" if own == "train" else "train"
            return (name,), [own if cell in ("1", "True", "true") else other for cell in cells]
    flags = [name for name in columns if split_word(name) and set(columns[name]) <= {"0", "1", ""}]
    if len(flags) > 1:
        rows = zip(*(columns[name] for name in flags), strict=True)
        return tuple(flags), [next((n for n, c in zip(flags, row, strict=True) if c == "1"), None) for row in rows]
    return None


def used_splits(own: dict[str, str], remarks: list[str]) -> tuple[dict[str, str], bool]:
    """The splits with something to test on, and whether there is nothing to train on."""
    if own.keys() == {"test"}:
        remarks.append(TEST_ONLY)
        return own, True
    if own and "train" not in own:
        raise UserError(f"there is no split to train on, but {', '.join(own.values())}")
    if own.keys() == {"train"}:
        remarks.append("There is but a split to train on; all are drawn of it in each class.")
        return {}, False
    return tested(own, remarks), False
