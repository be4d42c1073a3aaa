"""A text in each line, or in one column: whole paths joined by a sign, codes with titles, or plain names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

from hierfit.taxonomy.readers import columns
from hierfit.taxonomy.readers.columns import CHILDREN, PATH, SCHEMA, word
from hierfit.taxonomy.readers.given import Claim, Links, Rows, Score
from hierfit.taxonomy.readers.rows import PICTURE, direction_by_parents
from hierfit.taxonomy.readers.table import JOINTS, SAMPLE, Table
from hierfit.taxonomy.readers.tidy import RANK_PREFIX, tidy

_WEAK = (" / ", " | ", "|", ">", "->", "→", "»", "\\", "/", ";", " - ", "--", ":", "~", ".")
_ID = re.compile(r"(\S*[\d/]\S*)(?:\s+[-–:|]\s+|\s*\t\s*|\s{2,})(\S.*)")
_CODED = re.compile(r"([A-Z]|[A-Za-z]{0,4}\d[\w.\-/]*)(?:[.:)]?\s+|\s*[-–:]\s+)(\S.*)")
_MARKUP = re.compile(
    r"[{}<>=]|^\W*$|;$|^[\w.-]+:(?:\s|$)|[\"'] *: *|^\s*(?:def|class|import|return|if|for)\b.*:?$|\w\(.*\)"
    r"|^(?:https?|gid|urn):"
)
_LONGEST = 100  # letters of a name


def claims(table: Table) -> Iterator[Claim]:
    """What a table can be by the texts of one of its columns."""
    if table.width == 1:
        cells = [str(row[0]) for row in table.rows]
        found = _joined(cells, table, table.what)
        yield from found
        if not any(claim.score > Score.POSSIBLE for claim in found):
            coded = [match.groups() if (match := _CODED.fullmatch(cell)) else ("", "") for cell in cells]
            yield from _codes([code for code, _ in coded], [title for _, title in coded], table)
        yield _names(cells, table, bool(found))
        return
    if table.texts:
        texts = [text.strip() for text in table.texts]
        why = f"{table.what}; a name in each, a tree of one level"
        yield Claim("list", Score.POSSIBLE, why, "columns", "a name in each line, a tree of one level",
                    lambda: Rows([[text] for text in texts], table.where))  # fmt: skip
    words = [word(cell) for cell in table.header or ()]
    if table.header is not None:
        named = [words.index(name) for name in PATH if name in words]
        others = [c for c in range(len(words)) if c not in named and table.unit != "record"]
        sample = table.sample()
        for column in [*named, *others]:
            cells = sample.column(column)
            if not all(isinstance(cell, str) for cell in cells):
                if column in named and all(isinstance(cell, tuple) for cell in cells):
                    yield _of_lists(table, column, columns.find(words, columns.NAMES))
                continue
            if _joint(cells) is None:
                continue
            found = _joined(table.column(column), table, f"{table.what} with a path in {table.header[column]!r}")
            if found and (column in named or _finest(table, column)):
                yield from found
                break
        depth, name = columns.find(words, ("level", "depth")), columns.find(words, columns.NAMES)
        if depth is not None and name is not None and columns.find(words, columns.PARENT) is None:
            yield from _by_depth(table, depth, name)
        code = next((c for c, name in enumerate(words) if "code" in name or name in ("id", "nr", "number")), None)
        title = next((c for c, name in enumerate(words) if name in ("title", "name", "label", "description")), None)
        if code is not None and title is not None and columns.find(words, (*columns.PARENT, *CHILDREN)) is None:
            yield from _codes(table.column(code), table.column(title), table)
    elif table.width == 2:
        left, right = table.column(0), table.column(1)
        found = _joined(right, table, f"{table.what}, an id and a path in each") if len(set(left)) == len(left) else []
        if any(claim.score == Score.CERTAIN for claim in found):
            yield from found
        if all(any(map(str.isdigit, cell)) or len(cell) == 1 for cell in left):
            yield from _codes(left, right, table)


def _finest(table: Table, column: int) -> bool:
    """Whether no other column tells rows apart that this one leaves together."""
    return len(set(table.column(column))) == len(table.rows)


# Paths ---------------------------------------------------------------------------------------------------------------


def _joined(cells: Sequence[str], table: Table, what: str) -> list[Claim]:
    """Whole paths: names joined by one sign. A line that begins another is the inner node."""
    sample = cells[:SAMPLE]
    ids = [_ID.fullmatch(cell.strip()) for cell in sample]
    bare = [match[2] for match in ids if match]
    numbered = (
        len(bare) == len(ids) and len({match[1] for match in ids if match}) == len(ids) and _joint(bare) is not None
    )
    if numbered:
        sample, what = bare, f"{what}, an id before each"
    joint = _joint(sample)
    if joint is None or sum(PICTURE.fullmatch(cell) is not None for cell in sample) * 2 > len(sample):
        return []
    sign, certain = joint
    certain = certain or all(RANK_PREFIX.match(cell) for cell in sample if cell)

    def parts(texts: Sequence[str]) -> list[list[str]]:
        found = [[part.strip() for part in text.split(sign)] if text.strip() else [] for text in texts]
        return [row[1:] if row and row[0] == "" and sign in "/|\\" else row for row in found]

    rows = parts(sample)
    way, reason = direction_by_parents(rows)
    inner = _inner_rows(rows)
    if inner or (way is None and certain):
        way, reason = (
            "paths",
            f"{inner} lines begin another" if inner else f"{sign.strip()!r} leads from coarse to fine",
        )

    def read(turned: bool) -> Rows:
        texts = [match[2] if numbered and (match := _ID.fullmatch(cell.strip())) else cell for cell in cells]
        paths = [row[::-1] for row in parts(texts)] if turned else parts(texts)
        return tidy(paths, table.where, None)

    score = Score.POSSIBLE if way is None else Score.CERTAIN if certain else Score.LIKELY
    why = f"{what}, names joined by {sign.strip()!r}: {reason}"
    against = f"{sign.strip()!r} within a name"
    claims = []
    if way in (None, "paths"):
        claims.append(Claim("paths", score, why, against, "rows from the root", lambda: read(False)))
    if way in (None, "leaf-first"):
        claims.append(Claim("leaf-first", score, why, against, "rows from the leaf", lambda: read(True)))
    return claims


def _joint(cells: Sequence[str]) -> tuple[str, bool] | None:
    """The sign that joins the names of paths, and whether it hardly stands in names.

    Half of the texts hold it, and those that do not are beginnings of others; a sign that names may hold has to stand
    in all texts, or part them into beginnings that come again.
    """
    distinct = {cell.strip() for cell in cells if cell.strip()}
    for sign in (*JOINTS, *_WEAK):
        holding = [cell for cell in distinct if sign in cell]
        if not holding or 2 * len(holding) < len(distinct):
            continue
        firsts = {cell.split(sign)[0].strip() for cell in holding}
        rest = distinct.difference(holding)
        if sign in JOINTS:
            return sign, True
        heads = {cell.rsplit(sign, 1)[0].strip() for cell in holding}
        nested = sum(cell in heads for cell in distinct)
        common = len(rest - firsts) == 0 and len(firsts) < len(holding)
        if sign in (".", ":", " - ", "--", ";", "~") and nested * 3 < len(holding) and not (common and not rest):
            continue
        if sign == "." and nested * 2 < len(holding):
            continue
        if nested * 2 >= len(holding) or common or (not rest and sign in ("|", "/", " / ", " | ", "\\")):
            return sign, False
    return None


def _inner_rows(rows: Sequence[Sequence[str]]) -> int:
    """Rows that are the beginning of another."""
    paths = {tuple(row) for row in rows}
    heads = {row[:-1] for row in paths if len(row) > 1}
    return len(paths & heads)


def _of_lists(table: Table, column: int, name: int | None) -> Claim:
    """Records with a list of what is above them, root first, and perhaps a name of their own."""
    cells: list[tuple[str, ...]] = [cell or () for cell in table.column(column)]
    own = table.column(name) if name is not None else [""] * len(cells)
    paths = [
        [*above, leaf] if leaf and leaf not in above[-1:] else list(above)
        for above, leaf in zip(cells, own, strict=True)
    ]
    why = f"{table.what} with a path in {(table.header or ())[column]!r}"
    return Claim("paths", Score.LIKELY, why, "lists from leaf to root", "rows from the root",
                 lambda: tidy(paths, table.where, None))  # fmt: skip


# Depths --------------------------------------------------------------------------------------------------------------


def _by_depth(table: Table, depth: int, name: int) -> Iterator[Claim]:
    """A node in each row with the number of its level, each below the last one of the level above."""
    cells, names = table.column(depth), table.column(name)
    if not all(str(cell).isdigit() for cell in cells) or not all(names):
        return
    depths = [int(cell) for cell in cells]
    steps = [b - a for a, b in pairwise(depths)]
    if len(set(depths)) < 2 or depths[0] != min(depths) or max(steps) > 1:
        return

    def read() -> Links:
        last: dict[int, int] = {}
        parents = []
        for node, at in enumerate(depths):
            parents.append(last.get(at - 1))
            last[at] = node
        return Links(names, parents, table.where, by_name=False)

    why = f"{table.what} with a level and a name in each, in the order of the tree"
    yield Claim("outline", Score.CERTAIN, why, "a level that skips one", "nodes in order, with their depth", read)


# Codes ---------------------------------------------------------------------------------------------------------------


def _codes(codes: Sequence[str], titles: Sequence[str], table: Table) -> Iterator[Claim]:
    """Codes of which one begins another: 01 is the parent of 01.1, and 0101 of 010102."""
    codes = [code.strip().rstrip(".") for code in codes]
    if not all(codes) or not all(titles) or len(set(codes)) < len(codes) or len(codes) < (2 if table.header else 3):
        return
    short = [_without_zeros(code) for code in codes] if len({*map(len, codes)}) == 1 else codes
    if len(set(short)) < len(short) or [*short] in (
        [*map(str, range(len(short)))],
        [*map(str, range(1, len(short) + 1))],
    ):
        return
    known = dict(zip(short, codes, strict=True))
    parents = [known.get(_parent_of(code, known)) for code in short]
    below = sum(parent is not None for parent in parents)
    roots = len(codes) - below
    dotted = sum(not code.isalnum() for code in short) * 2 > below
    # Without dots a code of more digits has to lie below one of the next fewer: otherwise 1 and 10 are just numbers.
    lengths = {len(code) for code, parent in zip(short, parents, strict=True) if parent is None}
    if below * 2 < len(codes) or (not dotted and (len(lengths) > 1 or roots * 2 > len(codes))):
        return
    labels = dict(zip(codes, titles, strict=True))
    score = Score.CERTAIN if dotted or table.header else Score.LIKELY
    why = f"{table.what} with codes and titles; {below} codes begin with another's"
    yield Claim("codes", score, why, "codes that only count", "codes that begin with their parent's",
                lambda: Links(codes, parents, table.where, labels))  # fmt: skip


def _without_zeros(code: str) -> str:
    while len(code) > 2 and code.endswith("00"):
        code = code[:-2]
    return code


def _parent_of(code: str, known: dict[str, str]) -> str:
    for stop in range(len(code) - 1, 0, -1):
        if code[:stop] in known:
            return code[:stop]
    return ""


# Names ---------------------------------------------------------------------------------------------------------------


def _names(cells: Sequence[str], table: Table, joined: bool) -> Claim:
    fault = not_names([cell for cell in cells if cell])
    score = Score.POSSIBLE if fault or joined else Score.LIKELY
    why = f"{table.what}, a name in each, a tree of one level" + (f"; but {fault}" if fault else "")
    return Claim("list", score, why, "a sign that divides levels", "a name in each line, a tree of one level",
                 lambda: Rows([[cell] for cell in cells], table.where, table.header))  # fmt: skip


def not_names(names: Sequence[str]) -> str:
    """What speaks against a list of names for classes, if anything does."""
    few = max(2, len(names) // 10)
    if is_code(names):
        return "they hold signs of markup, keys or code"
    if len(names) > 1 and all(len(name.split()) == 2 and name.isascii() for name in names):
        return "there are two words in each"
    if sum(len(name.split()) > 8 or name.endswith(".") or "://" in name for name in names) > len(names) // 10:
        return "they hold sentences"
    if len(names) > 1 and sum(re.fullmatch(r"[-+]?[\d.,]+(?:\s.*)?", name) is not None for name in names) >= few:
        return "they hold numbers"
    if any(len(name) > _LONGEST for name in names) or sum("  " in name or "\t" in name for name in names) >= few:
        return "they hold columns"
    if sum(word(name) in SCHEMA for name in names) * 2 > len(names):
        return "they are words for columns"
    ordered = sorted(names)
    begun = [(a, b) for a, b in pairwise(ordered) if b.startswith(a) and a != b]
    begun = [(a, b) for a, b in begun if re.match(r"\s*[^\w\s\-'’(,&.]", b[len(a) :])]
    if begun:
        return f"{begun[0][0]!r} is the beginning of {begun[0][1]!r}"
    if len(names) > 1 and sum(re.search(r"\w\s*[,;|/>]\s*\w", name) is not None for name in names) * 2 > len(names):
        return "most hold a sign that may divide levels"
    if len(set(names)) * 2 < len(names):
        return "most come several times"
    return ""


def is_code(names: Sequence[str]) -> bool:
    """Whether a tenth of the names, two at least, look like markup, keys or code."""
    return sum(_MARKUP.search(name) is not None for name in names) >= min(max(2, len(names) // 10), len(names))
