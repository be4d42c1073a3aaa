"""A text in each line, or in one column: whole paths joined by a sign, codes with titles, or plain names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

from hierfit.taxonomy.readers import columns
from hierfit.taxonomy.readers.cells import PICTURE, RANK_PREFIX, joint, tidy
from hierfit.taxonomy.readers.columns import word
from hierfit.taxonomy.readers.given import Claim, Links, Rows, Score
from hierfit.taxonomy.readers.rows import direction_by_parents
from hierfit.taxonomy.readers.table import SAMPLE, Table

_ID = re.compile(r"(\S*[\d/]\S*)(?:\s+[-–:|]\s+|\s*\t\s*|\s{2,})(\S.*)")
_CODED = re.compile(r"([A-Z]|[A-Za-z]{0,4}\d[\w.\-/]*)(?:[.:)]?\s+|\s*[-–:]\s+)(\S.*)")
_MARKUP = re.compile(
    r"[{}<>=]|^\W*$|;$|^[\w.-]+:(?:\s|$)|[\"'] *: *|^\s*(?:def|class|import|return|if|for)\b.*:?$|\w\(.*\)"
    r"|^(?:https?|gid|urn):|^(?:\*+|#+|[-+•‣]) \S"
)
_LONGEST = 100  # letters of a name


def claims(table: Table) -> Iterator[Claim]:
    """What a table can be by the texts of one of its columns."""
    if table.width == 1:
        cells = [str(cell) for cell in table.column(0)]
        joined = _joined(cells, table, table.what)
        yield from joined
        if not any(claim.score > Score.POSSIBLE for claim in joined):
            coded = [match.groups() if (match := _CODED.fullmatch(cell)) else ("", "") for cell in cells]
            yield from _codes([code for code, _ in coded], [title for _, title in coded], table)
        fault = not_names([cell for cell in cells if cell])
        why = f"{table.what}, a name in each, a tree of one level" + (f"; but {fault}" if fault else "")
        score = Score.POSSIBLE if fault or joined else Score.LIKELY
        yield Claim("list", score, why, lambda: Rows([[cell] for cell in cells], table.where, table.header))
        return
    if table.by_blanks:
        why = f"{table.what}, a name in each, a tree of one level"
        yield Claim("list", Score.POSSIBLE, why, lambda: Rows([[" ".join(row)] for row in table.rows], table.where))
    if table.header is not None:
        yield from _under_words(table)
    elif table.width == 2:
        left, right = table.sample().column(0), table.sample().column(1)
        if len(set(left)) == len(left):
            joined = _joined(table.column(1), table, f"{table.what}, an id and a path in each")
            yield from joined if any(claim.score == Score.CERTAIN for claim in joined) else ()
        if all(any(map(str.isdigit, cell)) or len(cell) == 1 for cell in left) and [*_codes(left, right, table)]:
            yield from _codes(table.column(0), table.column(1), table)


def _under_words(table: Table) -> Iterator[Claim]:
    """Columns that hold whole paths, depths, or codes, by what they are called."""
    words, sample = table.words, table.sample()
    named = [words.index(name) for name in columns.PATH if name in words]
    others = [c for c, name in enumerate(words) if c not in named and name not in columns.IDS and not table.of_records]
    for column in [*named, *others]:
        cells, what = sample.column(column), f"{table.what} with a path in {table.name(column)!r}"
        if not all(isinstance(cell, str) for cell in cells):
            if column in named and all(isinstance(cell, tuple) for cell in cells):
                yield _of_lists(table, column, columns.name_column(words), what)
        elif joint(cells) is not None:
            joined = _joined(table.column(column), table, what)
            # Of a column by another name no other may tell rows apart that this one leaves together.
            if joined and (column in named or len(set(table.column(column))) == len(table.rows)):
                yield from joined
                break
    if columns.parent_column(words) is not None:
        return
    depth, name = columns.find(words, ("level", "depth")), columns.name_column(words)
    if depth is not None and name is not None:
        yield from _by_depth(table, depth, name)
    code = next((c for c, name in enumerate(words) if "code" in name or name in ("id", "nr", "number")), None)
    titles = [c for c, name in enumerate(words) if name in ("title", "name", "label", "description")]
    titles += [] if (named_so := columns.name_column(words, ())) is None else [named_so]
    if code is not None and titles and titles[0] != code and columns.find(words, columns.CHILDREN) is None:
        yield from _codes(table.column(code), table.column(titles[0]), table)


# Paths ---------------------------------------------------------------------------------------------------------------


def _joined(cells: Sequence[str], table: Table, what: str) -> list[Claim]:
    """Whole paths: names joined by one sign. A line that begins another is the inner node."""
    sample = cells[:SAMPLE]
    ids = [match for cell in sample if (match := _ID.fullmatch(cell.strip()))]
    bare = [match[2] for match in ids]
    numbered = len({match[1] for match in ids}) == len(sample) and joint(bare) is not None
    if numbered:
        sample, what = bare, f"{what}, an id before each"
    joined_by = joint(sample)
    if joined_by is None or sum(PICTURE.fullmatch(cell) is not None for cell in sample) * 2 > len(sample):
        return []
    sign, certain = joined_by
    certain = certain or all(RANK_PREFIX.match(cell) for cell in sample if cell)

    def parts(text: str) -> list[str]:
        found = [part.strip() for part in text.split(sign)] if text.strip() else []
        return found[1:] if found and found[0] == "" and sign in "/|\\" else found

    rows = [*map(parts, sample)]
    way, reason = direction_by_parents(rows)
    paths = set(map(tuple, rows))
    if inner := len(paths & {row[:-1] for row in paths if len(row) > 1}):
        way, reason = "paths", f"{inner} lines begin another"
    elif way is None and certain:
        way, reason = "paths", f"{sign.strip()!r} leads from coarse to fine"

    def read(step: int) -> Rows:
        texts = [_ID.sub(r"\2", cell.strip()) for cell in cells] if numbered else cells
        return tidy([parts(text)[::step] for text in texts], table.where, None)

    score = Score.POSSIBLE if way is None else Score.CERTAIN if certain else Score.LIKELY
    why = f"{what}, names joined by {sign.strip()!r}: {reason}"
    found = [Claim("paths", score, why, partial(read, 1)), Claim("leaf-first", score, why, partial(read, -1))]
    return [claim for claim in found if way in (None, claim.format)]


def _of_lists(table: Table, column: int, name: int | None, what: str) -> Claim:
    """Records with a list of what is above them, root first, and perhaps a name of their own."""
    above = [cell or () for cell in table.column(column)]
    own = table.column(name) if name is not None else [""] * len(above)
    paths = [[*up, leaf] if leaf and leaf not in up[-1:] else list(up) for up, leaf in zip(above, own, strict=True)]
    return Claim("paths", Score.LIKELY, what, lambda: tidy(paths, table.where, None))


# Depths and codes ----------------------------------------------------------------------------------------------------


def _by_depth(table: Table, depth: int, name: int) -> Iterator[Claim]:
    """A node in each row with the number of its level, each below the last one of the level above."""
    cells, titles = table.column(depth), table.column(name)
    if not all(str(cell).isdigit() for cell in cells) or not all(titles):
        return
    depths = [int(cell) for cell in cells]
    if len(set(depths)) < 2 or depths[0] != min(depths) or max(b - a for a, b in pairwise(depths)) > 1:
        return

    def read() -> Links:
        last: dict[int, int] = {}
        parents = []
        for node, at in enumerate(depths):
            parents.append(last.get(at - 1))
            last[at] = node
        return Links(titles, parents, table.where, by_name=False)

    what = f"{table.what} with a level and a name in each, in the order of the tree"
    yield Claim("outline", Score.CERTAIN, what, read)


def _codes(codes: Sequence[str], titles: Sequence[str], table: Table) -> Iterator[Claim]:
    """Codes of which one begins another: 01 is the parent of 01.1, and 0101 of 010102."""
    codes = [code.strip().rstrip(".") for code in codes]
    if not all(codes) or not all(titles) or len(set(codes)) < len(codes) or len(codes) < (2 if table.header else 3):
        return
    short = [re.sub(r"(?<=.)(?:00)+$", "", code) for code in codes] if len({*map(len, codes)}) == 1 else codes
    counted = ([*map(str, range(start, len(short) + start))] for start in (0, 1))
    if len(set(short)) < len(short) or short in counted:
        return
    known = dict(zip(short, codes, strict=True))
    above = [next((code[:i] for i in range(len(code) - 1, 0, -1) if code[:i] in known), "") for code in short]
    parents = [known.get(code) for code in above]
    roots = {code for code, parent in zip(short, parents, strict=True) if parent is None}
    below = len(codes) - len(roots)
    dotted = sum(not code.isalnum() for code in short) * 2 > below
    # Without dots a code of more digits has to lie below one of the next fewer: otherwise 1 and 10 are just numbers.
    if below * 2 < len(codes) or (not dotted and (len({*map(len, roots)}) > 1 or len(roots) * 2 > len(codes))):
        return
    labels = dict(zip(codes, titles, strict=True))
    score = Score.CERTAIN if dotted or table.header else Score.LIKELY
    why = f"{table.what} with codes and titles; {below} codes begin with another's"
    yield Claim("codes", score, why, lambda: Links(codes, parents, table.where, labels))


# Names ---------------------------------------------------------------------------------------------------------------


def not_names(names: Sequence[str]) -> str:
    """What speaks against a list of names for classes, if anything does."""
    few, several = max(2, len(names) // 10), len(names) > 1

    def count(pattern: str) -> int:
        return sum(re.search(pattern, name) is not None for name in names)

    if is_code(names):
        return "they hold signs of markup, keys or code"
    if several and all(len(name.split()) == 2 and name.isascii() for name in names):
        return "there are two words in each"
    if sum(len(name.split()) > 8 or name.endswith(".") or "://" in name for name in names) > len(names) // 10:
        return "they hold sentences"
    if several and count(r"^[-+]?[\d.,]+(?:\s.*)?$") >= few:
        return "they hold numbers"
    if any(len(name) > _LONGEST for name in names) or count("  |\t") >= few:
        return "they hold columns"
    if sum(word(name) in columns.SCHEMA for name in names) * 2 > len(names):
        return "they are words for columns"
    for begin, name in pairwise(sorted(names)):
        if name.startswith(begin) and re.match(r"\s*[^\w\s\-'’(,&.]", name[len(begin) :]):
            return f"{begin!r} is the beginning of {name!r}"
    if several and count(r"\w\s*[,;|/>]\s*\w") * 2 > len(names):
        return "most hold a sign that may divide levels"
    return "most come several times" if len(set(names)) * 2 < len(names) else ""


def is_code(names: Sequence[str]) -> bool:
    """Whether a tenth of the names, two at least, look like markup, keys or code."""
    return sum(_MARKUP.search(name) is not None for name in names) >= min(max(2, len(names) // 10), len(names))
