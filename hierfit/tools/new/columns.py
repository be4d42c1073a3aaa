"""Which columns of a table are the label: found by what stands in them, coarse to fine."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import accumulate, pairwise

from hierfit.errors import UserError, nearest
from hierfit.taxonomy.checks import counted, listed
from hierfit.taxonomy.readers import cells as meaning
from hierfit.taxonomy.readers.columns import EPITHET, RANKS, word
from hierfit.tools.new.found import LabelPath, Options, is_known, not_known
from hierfit.tools.new.records import JOIN, TextColumns, list_cell

_LABELS = """label labels class classes classname category categories supercategory superclass breed variety cultivar
    target diagnosis dx disease tag taxon taxonomy scientificname name choice choices group fine coarse"""
_NAMED = frozenset(_LABELS.split())
# Biology's, but for the coarsest: a "domain" of pictures is mostly where they come from.
_RANKS = {rank: place for place, rank in enumerate(RANKS[2:])} | {"epithet": RANKS.index("species") - 2}
_SEPARATORS = (JOIN, "->", "→", "»", ">", "::", "|", "\\", "--", ";", "/", ",")
_SEVERAL = ("|", ";", ",")  # which may also stand between several labels
_FLAGS = dict.fromkeys(("1", "1.0", "true", "yes"), True) | dict.fromkeys(("0", "0.0", "false", "no", ""), False)
_ONE_HOT = "one-hot"


def labels_of(
    columns: TextColumns, taken: Collection[str], options: Options, remarks: list[str]
) -> tuple[list[str], list[LabelPath]]:
    """The columns of the label, coarse to fine, and the label of each row, empty where nothing is known.

    Raises:
        UserError: No column looks like a label; or one that the user named is not there.
    """
    free = {name: _names(cells) for name, cells in columns.items() if name not in taken}
    merged = [name for name, cells in free.items() if _is_merged(cells)]
    for name in merged:
        free[name] = [*accumulate(free[name], _filled_down)]
    genus = next((name for name in free if word(name) == "genus"), None)
    for name in [name for name in free if genus and word(name) in EPITHET]:
        known = [cell if is_known(cell) else "" for cell in free[name]]
        if whole := meaning.with_genus(free[genus or ""], known):
            free[name] = [new or old for new, old in zip(whole, free[name], strict=True)]
            remarks.append(f"Column {name!r} holds the second word of a species' name: {genus!r} is put before it.")
    flags = [] if options.label else _one_hot(free)
    if flags:
        rows = list(zip(*(free.pop(name) for name in flags), strict=True))
        free[_ONE_HOT] = [next((n for n, cell in zip(flags, row, strict=True) if _FLAGS[cell.casefold()]), "")
                          for row in rows]  # fmt: skip
    chain, unused = label_columns({n: [c if is_known(c) else "" for c in cells] for n, cells in free.items()}, options)
    if chain == [_ONE_HOT]:
        remarks.append(
            f"The columns {listed([*map(repr, flags)], 8)} hold a 1 for one class each: these are the classes."
        )
    elif len(chain) == 1:
        remarks.append(f"Column {chain[0]!r} is the label.")
    else:
        remarks.append(f"The label is in the columns {' > '.join(map(repr, chain))}, coarse to fine.")
    if filled := [repr(name) for name in merged if name in chain]:
        remarks.append(f"Empty cells of {listed(filled, 8)} hold what stands above them, as merged cells do.")
    unknown = not_known((cell for name in chain for cell in free[name]), remarks)
    cells = [["" if cell in unknown else cell for cell in free[name]] for name in chain]
    if len(chain) == 1 and (sign := _separator(cells[0])):
        paths = [tuple(part.strip() for part in cell.split(sign)) if cell else () for cell in cells[0]]
        if sign not in ("/", JOIN):
            remarks.append(f"The cells are paths, divided by {sign!r}.")
    else:
        paths = _filled(cells, chain, remarks)
    if unused := [repr(name) for name in unused if name not in (_ONE_HOT, "")]:
        remarks.append(f"Columns not used: {', '.join(unused)}.")
    return chain, paths


def _filled_down(above: str, cell: str) -> str:
    return cell or above


def _is_merged(cells: Sequence[str]) -> bool:
    """Whether names stand in the first row of a block only, each once, as a spreadsheet writes merged cells."""
    filled = [cell for cell in cells if cell]
    return len(filled) > 1 and bool(cells[0]) and 2 * len(filled) <= len(cells) and len(set(filled)) == len(filled)


def label_columns(columns: TextColumns, options: Options) -> tuple[list[str], list[str]]:
    """The columns of the label, coarse to fine, and those that are not used; empty cells are not known.

    The finest is a column with a name that labels have, else one in words, else the one with most coarser columns that
    follow from it, else with most values. Of the coarser ones the longest chain counts in which each follows from the
    next.

    Raises:
        UserError: No column repeats its values; or one that the user named is not there.
    """
    if options.label:
        if lacking := [f"there is no column {n!r}{nearest(n, columns)}" for n in options.label if n not in columns]:
            raise UserError("--label-columns cannot be used", lacking)
        return list(options.label), [name for name in columns if name not in options.label]
    values = {name: set(cells) - {""} for name, cells in columns.items()}
    usable = _usable(values, max(map(len, columns.values()), default=0))
    known = {name: frozenset(row for row, cell in enumerate(columns[name]) if cell) for name in usable}

    def is_above(coarse: str, fine: str) -> bool:
        if meaning.in_numbers(values[coarse]) and not meaning.in_numbers(values[fine]):
            return False  # a number beside a name says nothing new
        if not _follows(columns[fine], columns[coarse]):
            return False
        one, other = _rank(coarse), _rank(fine)
        if one is not None and other is not None:
            return one < other
        # Of two that follow from each other the coarser one is known of more pictures, if there is one.
        return not _follows(columns[coarse], columns[fine]) or known[fine] < known[coarse]

    uppers = {fine: [name for name in usable if name != fine and is_above(name, fine)] for fine in usable}
    chains: dict[str, tuple[str, ...]] = {name: (name,) for name in usable}
    for _ in usable:  # each pass lengthens chains by one
        for fine, above in uppers.items():
            longer = [(*chains[name], fine) for name in above if fine not in chains[name]]
            chains[fine] = max([chains[fine], *longer], key=lambda chain: sum(1 + 0.5 * _is_named(n) for n in chain))

    def rating(name: str) -> tuple[int, int, int, int, int]:
        kind = 0 if meaning.in_numbers(values[name]) else 1 if name == _ONE_HOT and len(values[name]) < 3 else 2
        first = -list(columns).index(name)
        return int(_is_named(name) or name == _ONE_HOT), kind, len(chains[name]), len(values[name]), first

    found = list(chains[max(usable, key=rating)])
    return found, [name for name in columns if name not in found]


def _usable(values: Mapping[str, set[str]], rows: int) -> list[str]:
    """Columns that may be labels, by their values and the number of rows; raises `UserError` where there is none."""
    usable = [name for name, found in values.items()
              if len(found) > 1 and (len(found) <= rows / 2 or _is_named(name)) and not _is_measure(found)]  # fmt: skip
    flags = [name for name in usable if _are_flags(values[name])]
    if len(flags) > 1 and len(flags) == len(usable):
        what = "several columns of 0 and 1 look like classes, but pictures have several of them or none"
        hint = "hierfit gives a picture one class: name a column with --label-columns, or leave such pictures out."
        raise UserError(what, [f"the columns are {listed([*map(repr, flags)], 8)}"], hint)
    if not usable:
        reasons = [f"{name}: {'decimal numbers' if found and _is_measure(found) else counted(len(found), 'value')}"
                   for name, found in values.items()]  # fmt: skip
        what = f"no column looks like a label: none repeats its values in {rows} rows"
        raise UserError(what, reasons, "--label-columns names them, coarse to fine.")
    return usable


def _filled(cells: Sequence[Sequence[str]], names: Sequence[str], remarks: list[str]) -> list[LabelPath]:
    """Paths of rows whose coarser cells are filled from what others say, else as `hierfit taxonomy` fills gaps."""
    above = [{f: c for c, f in zip(coarse, fine, strict=True) if c and f} for coarse, fine in pairwise(cells)]
    paths, filled = [], 0
    for row in zip(*cells, strict=True):
        path = list(row)
        while path and not path[-1]:
            path.pop()
        for i in reversed(range(len(path) - 1)):
            if not path[i]:
                path[i] = above[i].get(path[i + 1], "")
                filled += 1
        paths.append(path)
    if filled:
        gaps = counted(filled, "empty cell beside a finer name was", "empty cells beside a finer name were")
        remarks.append(f"{gaps} filled from other rows, or by '(…, not given)'.")
    return [*map(tuple, meaning.without_gaps(paths, names, str, []))]


def _separator(cells: Iterable[str]) -> str | None:
    """What stands between the names of paths in one column's cells, where they are paths."""
    distinct = sorted(set(cells) - {""})
    for sign in _SEPARATORS:
        split = [[part.strip() for part in cell.split(sign)] for cell in distinct if sign in cell]
        if len(split) < 2 or not all(all(path) for path in split):
            continue
        heads = {path[0] for path in split}
        if sign in _SEVERAL and heads & {part for path in split for part in path[1:]}:
            shown = next(cell for cell in distinct if sign in cell)
            hint = ("hierfit gives a picture one class: leave such pictures out, or name another column with "
                    "--label-columns.")  # fmt: skip
            raise UserError(f"cells such as {shown!r} hold several labels of one picture", hint=hint)
        if sign != "," and (sign == JOIN or len(heads) < len(split)):
            return sign
    return None


def _one_hot(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Columns of 0 and 1 of which one is 1 in (nearly) each row, and never two."""
    flags = [name for name, cells in columns.items() if _are_flags({*cells} - {""})]
    if len(flags) < 2:
        return []
    sums = [sum(_FLAGS[cell.casefold()] for cell in row) for row in zip(*(columns[n] for n in flags), strict=True)]
    return flags if max(sums) == 1 and sum(sums) >= 0.9 * len(sums) else []


def _are_flags(values: set[str]) -> bool:
    return bool(values) and all(value.casefold() in _FLAGS for value in values)


def _names(cells: list[str]) -> list[str]:
    """Cells as names: ``1.0`` is 1 where all are whole numbers, as pandas writes a column with a gap; lists written as
    text (``["bird", "gull"]``, ``['gull']``, ``{"choices": ["gull"]}``) are paths."""
    filled = [cell for cell in cells if is_known(cell)]
    if filled and all(cell[0] + cell[-1] in ("[]", "{}") for cell in filled):
        return [list_cell(cell) if is_known(cell) else "" for cell in cells]
    whole = [cell.partition(".")[0] if meaning.are_floats([cell]) else cell for cell in filled]
    if filled and meaning.in_numbers(whole):
        return [cell.partition(".")[0] if meaning.are_floats([cell]) else cell for cell in cells]
    return cells


def _follows(fine: Sequence[str], coarse: Sequence[str]) -> bool:
    """Whether each value of the one column always stands beside the same of the other, where both are known."""
    above: dict[str, str] = {}
    return all(above.setdefault(a, b) == b for a, b in zip(fine, coarse, strict=True) if a and b)


def _is_measure(values: Iterable[str]) -> bool:
    """Whether all are numbers, and some not whole."""
    try:
        return any([float(value.replace(",", ".")) % 1 for value in values])
    except ValueError:
        return False


def _is_named(name: str) -> bool:
    """Whether a column is called as labels are."""
    return _rank(name) is not None or not _NAMED.isdisjoint((*_words(name), "".join(_words(name))))


def _rank(name: str) -> int | None:
    return _RANKS.get((_words(name) or [""])[-1])


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).casefold())
