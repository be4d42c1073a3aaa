"""A text in each line, or in one column: whole paths joined by a sign, codes with titles, names, indented or drawn."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise

from hierfit.taxonomy.checks import Finding, Where, problem
from hierfit.taxonomy.readers import columns
from hierfit.taxonomy.readers.cells import RANK_PREFIX, joint, tidy
from hierfit.taxonomy.readers.given import Guess, Links, Reading, Rows
from hierfit.taxonomy.readers.links import of_links
from hierfit.taxonomy.readers.rows import both_ways, of_rows, which_way
from hierfit.taxonomy.readers.source import Content
from hierfit.taxonomy.readers.table import IN_COLUMNS, SAMPLE, TWO_WORDS, CellTable, lines_of

_ID_BEFORE = re.compile(r"(\S*[\d/]\S*)(?:\s+[-–:|]\s+|\s*\t\s*|\s{2,})(\S.*)")
_CODE_BEFORE = re.compile(r"([A-Z]|[A-Za-z]{0,4}\d[\w.\-/]*)(?:[.:)]?\s+|\s*[-–:]\s+)(\S.*)")
_INDENTED = re.compile(r"[\r\n](?:[^\S\r\n]|[-*+•‣◦#] |\*\*|##)")
_DRAWN = re.compile(r"[├└┣┗╠╚]|[+`\\|]--")
_BRANCH = re.compile(r".*[├└┣┗╠╚]|[ \t|]*[+`\\|]--")
_LEAD = re.compile(r"[\s│┃║|]*[├└┣┗╠╚+`|\\][─━═\-_]+\s?|[\s│┃║|]*")
_BULLET = re.compile(r"(\s*)(?:[-*+•‣◦o]|\d+[.)])\s+(\S.*)")
_HEADING = re.compile(r"(#{1,6})\s+(\S.*?)\s*#*")
_STARS = re.compile(r"(\*+)\s+(\S.*)")  # Org mode's headings
# What the command `tree` writes beside the tree, here and on Windows.
_OF_TREE = re.compile(r"\.|\d+ director(?:y|ies)(?:, \d+ files?)?|Folder PATH listing.*|Volume serial number is.*")

Line = tuple[int, str, str]
"""Its number, its indent (what stands before the name) and the name."""


def of_table(table: CellTable, file: Content, options: Reading) -> Iterator[Guess]:
    """All that a table can be, with its header if it has one."""
    linked = [*of_links(table, file, options)]
    yield from linked
    if options.format or all(guess.score < 2 for guess in linked):
        yield from of_rows(table, file, options)
        yield from of_texts(table)


def of_texts(table: CellTable) -> Iterator[Guess]:
    """What a table can be by the texts of one of its columns."""
    if table.width == 1:
        cells = [str(cell) for cell in table.column(0)]
        joined = _joined(cells, table, table.what)
        yield from joined
        if all(guess.doubt for guess in joined):
            coded = [match.groups() if (match := _CODE_BEFORE.fullmatch(cell)) else ("", "") for cell in cells]
            yield from _codes([code for code, _ in coded], [title for _, title in coded], table)
        doubt = columns.no_names([cell for cell in cells if cell]) or ("they may be paths" if joined else "")
        why = f"{table.what}, a name in each, a tree of one level"
        yield Guess("list", why, lambda: Rows([[cell] for cell in cells], table.where, table.header), False, doubt)
        return
    if table.what in (TWO_WORDS, IN_COLUMNS):
        names = [[" ".join(row)] for row in table.rows]
        yield Guess("list", f"{table.what}, a name in each", lambda: Rows(names, table.where), False, table.what)
    if table.header is not None:
        yield from _under_words(table)
    elif table.width == 2:
        left, right = table.sample.column(0), table.sample.column(1)
        if len(set(left)) == len(left):
            joined = _joined(table.column(1), table, f"{table.what}, an id and a path in each")
            yield from joined if any(guess.score == 2 for guess in joined) else ()
        if all(any(map(str.isdigit, cell)) or len(cell) == 1 for cell in left) and [*_codes(left, right, table)]:
            yield from _codes(table.column(0), table.column(1), table)


def _under_words(table: CellTable) -> Iterator[Guess]:
    """Columns that hold whole paths, depths, or codes, by what they are called."""
    words, sample = table.words, table.sample
    name = columns.name_column(words)
    named = [words.index(path) for path in columns.PATH if path in words]
    for column in [*named, *(c for c, known in enumerate(words) if c not in named and known not in columns.IDS)]:
        cells, what = sample.column(column), f"{table.what} with a path in {table.name(column)!r}"
        if column in named and all(isinstance(cell, tuple) for cell in cells):
            # Records with a list of what is above them, root first, and perhaps a name of their own.
            own = [""] * len(table.rows) if name is None else table.column(name)
            rows = [[*up, leaf] if leaf and leaf not in up[-1:] else list(up)
                    for up, leaf in zip(table.column(column), own, strict=True)]  # fmt: skip
            yield Guess("paths", what, partial(tidy, rows, table.where, None))
        elif all(isinstance(cell, str) for cell in cells):
            joined = _joined(table.column(column), table, what)
            if column in named:
                yield from joined
            # By any other name: addresses in records have slashes, too; and no other column may tell rows apart.
            elif (
                joined and (joined[0].said or not table.of_records) and len({*table.column(column)}) == len(table.rows)
            ):
                yield from joined
                break
    if columns.parent_column(words) is not None:
        return
    depth = columns.first_known(words, ("level", "depth"))
    if depth is not None and name is not None:
        cells, titles = table.column(depth), table.column(name)
        depths = [int(cell) - int(cells[0]) for cell in cells] if all(str(cell).isdigit() for cell in cells) else [0]
        steps = [below - above for above, below in pairwise(depths)]
        if all(titles) and min(depths) == 0 < max(depths) and max(steps) == 1:
            what = f"{table.what} with a level and a name in each, in the order of the tree"
            yield Guess("outline", what, lambda: by_depth(titles, depths, table.where), True)
    code = next((c for c, name in enumerate(words) if "code" in name or name in ("id", "nr", "number")), None)
    title = columns.name_column(words, ("title", "name", "label", "description"))
    if code is not None and title not in (None, code) and columns.first_known(words, columns.CHILDREN) is None:
        yield from _codes(table.column(code), table.column(title), table)


def heads_paths(table: CellTable) -> bool:
    """Whether the last cell of line 1 is no path and begins none, above cells that are: then it names their column."""
    first, *below = map(str, table.sample.column(table.width - 1))
    found = joint(below) if table.width < 3 else None
    if found is None or found[0] in first or any(cell.startswith(first) for cell in below):
        return False
    above, *ids = map(str, table.sample.column(0))
    return (
        (not above.isdigit() and all(map(str.isdigit, ids)))
        or columns.word(first) in columns.KNOWN
        or all(found[0] in cell for cell in below)
    )


# Paths ---------------------------------------------------------------------------------------------------------------


def _joined(cells: Sequence[str], table: CellTable, what: str) -> list[Guess]:
    """Whole paths: names joined by one sign. A line that begins another is the inner node."""
    sample = cells[:SAMPLE]
    ids = [match for cell in sample if (match := _ID_BEFORE.fullmatch(cell.strip()))]
    bare = [match[2] for match in ids]
    numbered = len({match[1] for match in ids}) == len(sample) and joint(bare) is not None
    if numbered:
        sample, what = bare, f"{what}, an id before each"
    joined_by = joint(sample)
    if joined_by is None or columns.name_pictures(sample):
        return []
    sign, certain = joined_by
    certain = certain or all(RANK_PREFIX.match(cell) for cell in sample if cell)

    def parts(text: str) -> list[str]:
        found = [part.strip() for part in text.split(sign)] if text.strip() else []
        return found[1:] if found and found[0] == "" and sign in "/|\\" else found

    rows = [*map(parts, sample)]
    way, reason = which_way(rows)
    paths = set(map(tuple, rows))
    if inner := len(paths & {row[:-1] for row in paths if len(row) > 1}):
        way, reason = 1, f"{inner} lines begin another"
    elif not way and certain:
        way, reason = 1, f"{sign.strip()!r} leads from coarse to fine"

    def read(step: int) -> Rows:
        texts = [_ID_BEFORE.sub(r"\2", cell.strip()) for cell in cells] if numbered else cells
        return tidy([parts(text)[::step] for text in texts], table.where, None)

    why = f"{what}, names joined by {sign.strip()!r}: {reason}"
    return both_ways(("paths", "leaf-first"), way, (why, why), read, certain)


# Codes ---------------------------------------------------------------------------------------------------------------


def _codes(codes: Sequence[str], titles: Sequence[str], table: CellTable) -> Iterator[Guess]:
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
    why = f"{table.what} with codes and titles; {below} codes begin with another's"
    yield Guess("codes", why, lambda: Links(codes, parents, table.where, labels), dotted or table.header is not None)


# Indented and drawn lines ---------------------------------------------------------------------------------------------


def of_outline(file: Content, forced: bool = False) -> Iterator[Guess]:
    """Whether lines are indented, or drawn; where the user says so, they are."""
    if not (forced or _DRAWN.search(file.text) or _INDENTED.search(file.text)):
        return
    texts = [(i, line) for i, line in enumerate(lines_of(file.text), 1) if line.strip()]
    drawn = any(_BRANCH.match(line) for _, line in texts)
    lines = [(i, text[: len(text) - len(text.lstrip())], text.strip()) for i, text in texts]
    names = [name for _, _, name in lines]
    marked = [] if drawn or forced else _marked(texts)
    if not forced and all(name[0] == name[-1] == "|" for name in names):
        return  # a table in Markdown
    cells = sum("\t" in name for name in names) * 2 > len(names)
    doubt = ""
    if drawn:
        cut = [(number, text, _LEAD.sub("", text, count=1)) for number, text in texts]
        lines = [(number, text[: len(text) - len(name)], name.rstrip()) for number, text, name in cut
                 if name.strip() and not _OF_TREE.fullmatch(text.strip())]  # fmt: skip
    elif marked:
        lines = marked
    elif not forced and (cells or not any(lead for _, lead, _ in lines)):
        return  # cells between tabs, or lines that are not indented
    elif not forced and columns.look_like_code(names):
        some = any(_BULLET.fullmatch(text) or _HEADING.fullmatch(text) for _, text in texts)
        doubt = "some lines have bullets or headings and others none" if some else "it looks like markup or code"

    def read() -> Links:
        what = "is indented by blanks alone, in a tree with lines drawn"
        faults = [problem("indent", f"{name!r} {what}", f"line {number}")
                  for number, lead, name in lines if drawn and lead and lead.isspace()]  # fmt: skip
        if not drawn and len({sign for _, lead, _ in lines for sign in lead}) > 1:
            faults.append(problem("indent", "some lines are indented by blanks, others by tabs"))
        first = len(lines[0][1]) if drawn and lines else 0  # where `tree` drew its "." above
        names, depths = [name for _, _, name in lines], [len(lead) - first for _, lead, _ in lines]
        return by_depth(names, depths, lambda node: f"line {lines[node][0]}", faults)

    why = "as asked for" if forced else "a drawn tree, by its ├── or |--" if drawn else "indented text"
    yield Guess("outline", why, read, forced or drawn, doubt)


def _marked(texts: Sequence[tuple[int, str]]) -> list[Line]:
    """Bullets and headings of Markdown or Org mode, where all lines have them; else nothing."""
    found: list[Line] = []
    depth = 0
    heading_of = _STARS if any(text.startswith("**") for _, text in texts) else _HEADING
    for number, text in texts:
        if heading := heading_of.fullmatch(text.strip()):
            depth = len(heading[1])
            found.append((number, " " * (depth - 1), heading[2]))
        elif bullet := _BULLET.fullmatch(text):
            found.append((number, " " * depth + bullet[1], bullet[2].rstrip()))
        else:
            return []
    return found if len({lead for _, lead, _ in found}) > 1 else []


def by_depth(names: Sequence[str], depths: Sequence[int], where: Where, findings: Sequence[Finding] = ()) -> Links:
    """Nodes in the order of the tree, each below the nearest one before it that is less deep; roots have depth 0.

    A depth between those of the branch that it leaves is a fault: nothing says whose child the node is.
    """
    parents: list[int | None] = []
    faults = [*findings]
    branch: list[int] = []  # nodes from the root to here
    for node, depth in enumerate(depths):
        deepest = depths[branch[-1]] if branch else 0
        while branch and depths[branch[-1]] > depth:
            branch.pop()
        above = depths[branch[-1]] if branch else 0
        if depth != above and (depth < deepest or not branch):
            text = f"{names[node]!r} is indented by {depth}, unlike all lines above it"
            faults.append(problem("indent", text, where(node)))
        if branch and above == depth:
            branch.pop()
        parents.append(branch[-1] if branch else None)
        branch.append(node)
    return Links(names, parents, where, findings=faults, by_name=False)
