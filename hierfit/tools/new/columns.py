"""Which columns of a table are the label: found by what stands in them, coarse to fine."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise

from hierfit.errors import UserError, nearest
from hierfit.taxonomy.build import without_end
from hierfit.taxonomy.checks import counted, listed
from hierfit.taxonomy.readers import cells as meaning
from hierfit.taxonomy.readers.columns import EPITHET, RANKS, word
from hierfit.tools.new.found import Found, LabelPath, is_known
from hierfit.tools.new.records import JOIN, TextColumns, list_cell

_LABEL_WORDS = """label labels class classes classname category categories supercategory superclass breed variety
    cultivar target diagnosis dx disease tag taxon taxonomy scientificname name choice choices group fine coarse"""
_OF_LABELS = frozenset(_LABEL_WORDS.split())
# Biology's, but for the coarsest: a "domain" of pictures is mostly where they come from.
_PLACE = {rank: place for place, rank in enumerate(RANKS[2:])} | {"epithet": RANKS.index("species") - 2}
_FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}
_ONE_HOT = "one-hot"


def labels_of(found: Found, columns: TextColumns, taken: Collection[str]) -> tuple[list[str], list[LabelPath]]:
    """The columns of the label, coarse to fine, and the label of each row, empty where nothing is known.

    Raises:
        UserError: No column looks like a label; or one that the user named is not there.
    """
    free = {name: _unpacked(cells) for name, cells in columns.items() if name not in taken}
    merged = [name for name, cells in free.items() if _is_merged(cells)]
    free |= {name: [*accumulate(free[name], _or_above)] for name in merged}
    known = {name: [cell if is_known(cell) else "" for cell in cells] for name, cells in free.items()}
    genus = next((name for name in known if word(name) == "genus"), None)
    for name in [name for name in known if genus and word(name) in EPITHET]:
        if whole := meaning.with_genus(known[genus or ""], known[name]):
            known[name] = whole
            found.remarks.append(f"Column {name!r} holds the second words of species: {genus!r} is put before them.")
    if flags := [] if found.options.label else _one_hot(free):
        rows = zip(*(known.pop(name) for name in flags), strict=True)
        ones = ([n for n, cell in zip(flags, row, strict=True) if _FLAGS[cell.casefold()]] for row in rows)
        known[_ONE_HOT] = ["".join(names) for names in ones]
    chain, unused = label_columns(known, found.options.label)
    if chain == [_ONE_HOT]:
        found.remarks.append(f"{listed(map(repr, flags), 8)} hold a 1 for one class each: these are the classes.")
    else:
        coarse_to_fine = ", coarse to fine" if len(chain) > 1 else ""
        found.remarks.append(f"The label is in {' > '.join(map(repr, chain))}{coarse_to_fine}.")
    if filled := [repr(name) for name in merged if name in chain]:
        found.remarks.append(f"Empty cells of {listed(filled, 8)} hold what stands above them, as merged cells do.")
    found.not_known(cell for name in chain for cell in free.get(name, ()))
    if unused := [repr(name) for name in unused if name not in (_ONE_HOT, "")]:
        found.remarks.append(f"Columns not used: {', '.join(unused)}.")
    cells = [known[name] for name in chain]
    paths = _split_at_signs(cells[0], found.remarks) if len(chain) == 1 else []
    return chain, paths or _filled(cells, chain)


def label_columns(columns: TextColumns, asked: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """The columns of the label, coarse to fine, and those that are not used; empty cells are not known.

    The finest is a column with a name that labels have, else one in words, else the one with most coarser columns that
    follow from it, else with most values. Of the coarser ones the longest chain counts in which each follows from the
    next.

    Raises:
        UserError: No column repeats its values; or one that the user named is not there.
    """
    if asked:
        if lacking := [f"there is no column {name!r}{nearest(name, columns)}" for name in asked if name not in columns]:
            raise UserError("--label-columns cannot be used", lacking)
        return list(asked), [name for name in columns if name not in asked]
    values = {name: set(cells) - {""} for name, cells in columns.items()}
    usable = _usable(values, max(map(len, columns.values()), default=0))
    rows = {name: frozenset(row for row, cell in enumerate(columns[name]) if cell) for name in usable}
    numbers = {name for name in usable if meaning.in_numbers(values[name])}

    def is_above(coarse: str, fine: str) -> bool:
        if (coarse in numbers and fine not in numbers) or not _follows(columns[fine], columns[coarse]):
            return False  # a number beside a name says nothing new
        one, other = _rank(coarse), _rank(fine)
        if one is not None and other is not None:
            return one < other
        # Of two that follow from each other the coarser one is known of more pictures, if there is one.
        return not _follows(columns[coarse], columns[fine]) or rows[fine] < rows[coarse]

    above = {fine: [name for name in usable if name != fine and is_above(name, fine)] for fine in usable}
    chains: dict[str, tuple[str, ...]] = {name: (name,) for name in usable}
    for _ in usable:  # each pass lengthens chains by one
        for fine in usable:
            longer = [(*chains[name], fine) for name in above[fine] if fine not in chains[name]]
            chains[fine] = max([chains[fine], *longer], key=lambda chain: sum(1 + 0.5 * _is_named(n) for n in chain))

    def rating(name: str) -> tuple[bool, bool, int, int]:
        in_words = name not in numbers and (name != _ONE_HOT or len(values[name]) > 2)
        return _is_named(name) or name == _ONE_HOT, in_words, len(chains[name]), len(values[name])

    chain = chains[max(usable, key=rating)]
    return list(chain), [name for name in columns if name not in chain]


def _usable(values: Mapping[str, set[str]], rows: int) -> list[str]:
    """Columns that may be labels, by their values and the number of rows; raises `UserError` where there is none."""
    usable = [name for name, found in values.items()
              if len(found) > 1 and (len(found) <= rows / 2 or _is_named(name)) and not _is_measure(found)]  # fmt: skip
    if len(usable) > 1 and all(_are_flags(values[name]) for name in usable):
        what = "several columns of 0 and 1 look like classes, but pictures have several of them or none"
        hint = "hierfit gives a picture one class: name a column with --label-columns, or leave such pictures out."
        raise UserError(what, [f"the columns are {listed(map(repr, usable), 8)}"], hint)
    if not usable:
        reasons = [f"{name}: {'decimal numbers' if found and _is_measure(found) else counted(len(found), 'value')}"
                   for name, found in values.items()]  # fmt: skip
        what = f"no column looks like a label: none repeats its values in {rows} rows"
        raise UserError(what, reasons, "--label-columns names them, coarse to fine.")
    return usable


def _follows(fine: Sequence[str], coarse: Sequence[str]) -> bool:
    """Whether each value of the one column always stands beside the same of the other, where both are known."""
    above: dict[str, str] = {}
    return all(above.setdefault(a, b) == b for a, b in zip(fine, coarse, strict=True) if a and b)


def _filled(cells: Sequence[Sequence[str]], names: Sequence[str]) -> list[LabelPath]:
    """Paths of rows whose coarser cells are filled from what others say, else as `hierfit taxonomy` fills gaps."""
    above = [{f: c for c, f in zip(coarse, fine, strict=True) if c and f} for coarse, fine in pairwise(cells)]
    paths = [list(without_end(row)) for row in zip(*cells, strict=True)]
    for path in paths:
        for i in reversed(range(len(path) - 1)):
            path[i] = path[i] or above[i].get(path[i + 1], "")
    return [*map(tuple, meaning.without_gaps(paths, names, str, []))]


def _split_at_signs(cells: Sequence[str], remarks: list[str]) -> list[LabelPath]:
    """The names of paths in one column's cells, where they are paths; raises `UserError` for several labels in one."""
    distinct = set(cells) - {""}
    for sign in "|;,":
        split = {cell: [part.strip() for part in cell.split(sign)] for cell in distinct if sign in cell}
        if {names[0] for names in split.values()} & {name for names in split.values() for name in names[1:]}:
            hint = "Leave such pictures out, or name another column with --label-columns: a picture has one class."
            raise UserError(f"cells such as {min(split)!r} hold several labels of one picture", hint=hint)
    joint = (JOIN, True) if any(JOIN in cell for cell in distinct) else meaning.joint(distinct)
    if joint is None:
        return []
    if (sign := joint[0].strip()) and sign != "/":
        remarks.append(f"The cells are paths, divided by {sign!r}.")
    paths = {cell: tuple(filter(None, map(str.strip, cell.split(joint[0])))) for cell in distinct}
    return [paths.get(cell, ()) for cell in cells]


def _one_hot(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Columns of 0 and 1 of which one is 1 in (nearly) each row, and never two."""
    flags = [name for name, cells in columns.items() if _are_flags({*cells} - {""})]
    sums = [sum(_FLAGS[cell.casefold()] for cell in row) for row in zip(*(columns[n] for n in flags), strict=True)]
    return flags if len(flags) > 1 and max(sums) == 1 and sum(sums) >= 0.9 * len(sums) else []


def _are_flags(values: set[str]) -> bool:
    return bool(values) and all(value.casefold() in _FLAGS for value in values)


def _or_above(above: str, cell: str) -> str:
    return cell or above


def _is_merged(cells: Sequence[str]) -> bool:
    """Whether names stand in the first row of a block only, each once, as a spreadsheet writes merged cells."""
    filled = [cell for cell in cells if cell]
    return len(filled) > 1 and bool(cells[0]) and 2 * len(filled) <= len(cells) and len(set(filled)) == len(filled)


def _unpacked(cells: list[str]) -> list[str]:
    """Cells; where all are lists written as text (``["bird", "gull"]``, ``{"choices": ["gull"]}``), their paths."""
    is_list = all(cell[0] + cell[-1] in ("[]", "{}") for cell in cells if cell)
    return [cell and list_cell(cell) for cell in cells] if is_list else cells


def _is_measure(values: Iterable[str]) -> bool:
    """Whether all are numbers, and some not whole."""
    try:
        return any([float(value.replace(",", ".")) % 1 for value in values])
    except ValueError:
        return False


def _is_named(name: str) -> bool:
    """Whether a column is called as labels are."""
    return _rank(name) is not None or not _OF_LABELS.isdisjoint((*_words_in(name), "".join(_words_in(name))))


def _rank(name: str) -> int | None:
    return _PLACE.get((_words_in(name) or [""])[-1])


def _words_in(name: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
