"""From a file of any format to what it says, and to a tree; every reader is asked, and the best evidence wins."""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierfit.errors import UserError
from hierfit.taxonomy.build import Plan
from hierfit.taxonomy.checks import EDGE_HEADER
from hierfit.taxonomy.readers import syntax
from hierfit.taxonomy.readers.columns import PATH, speaks_of_columns, word
from hierfit.taxonomy.readers.documents import of_document
from hierfit.taxonomy.readers.given import FORMATS, Format, Given, Guess, Links, Reading
from hierfit.taxonomy.readers.indices import leaf_list
from hierfit.taxonomy.readers.lines import heads_paths, of_outline, of_table, of_texts
from hierfit.taxonomy.readers.source import BUNDLE, Content

if TYPE_CHECKING:
    from hierfit.taxonomy.tree import Taxonomy

__all__ = ["FORMATS", "Format", "Given", "Reading", "given_of", "read_csv", "read_given", "read_plan", "read_taxonomy"]

_NEWICK_NAMES = (".nwk", ".newick", ".tree", ".nw", ".tre")
_GRAPHVIZ = re.compile(r"(?:(?://|#)[^\n]*\s+)*(?:strict\s+)?(?:di)?graph\b[^{;\n]*\{", re.IGNORECASE)

_KINDS_OF_FILE: dict[str, tuple[Callable[[Content], object], Callable[[Content, Reading], Iterable[Guess]]]] = {
    "xml": (lambda s: s.head.startswith("<"), lambda s, _: [syntax.of_xml(s)]),
    "newick": (lambda s: s.suffix in _NEWICK_NAMES or re.match(r"(?:\[&[RU]\]\s*)?\(", s.head),
               lambda s, _: [Guess("newick", "Newick, by its opening bracket", partial(syntax.read_newick, s), True)]),
    "dot": (lambda s: _GRAPHVIZ.match(s.head),
            lambda s, _: [Guess("dot", "a Graphviz graph", partial(syntax.read_dot, s), True)]),
    "obo": (lambda s: "[Term]" in s.text and re.search(r"^\[Term\]\s*$", s.text, re.MULTILINE),
            lambda s, options: [syntax.of_obo(s, options)]),
    "document": (lambda s: s.language, of_document),
    "lines": (lambda s: True, lambda s, options: _of_lines(s, options)),
}  # fmt: skip
"""What a text can be, by how it opens: the first whose evidence holds is asked what it makes of it."""

_TABLE_FORMATS = ("paths", "leaf-first", "indices", "child-parent", "parent-child")
_WITH_NAMES = ("child-parent", "parent-child", "node-link", "indices")
_WAYS_OUT = (
    "Give one of these formats (in a data card, `taxonomy: {file: …, format: …}`), or the columns to read, coarse to "
    "fine: --columns 2,1."
)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Millions of small objects and no circles: the collector would look through them again and again."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def read_taxonomy(path: str | os.PathLike[str], format: Format | None = None, **options: Any) -> Taxonomy:
    """Read a tree from a file of any format.

    Args:
        path: The file.
        format: See `hierfit.taxonomy.readers.given.FORMATS`; None to find it out from the content.
        options: The other attributes of `hierfit.taxonomy.readers.given.Reading`: select, header, columns, levels,
            names, leaves, parents.

    Raises:
        UserError: The file cannot be read, its format is not certain (with the formats to choose from), or it holds
            no tree: everything that is wrong, each with its line.
    """
    from hierfit.taxonomy.tree import Taxonomy

    return Taxonomy.of_plan(read_plan(Reading(os.fspath(path), format, **options)))


def read_csv(path: str | os.PathLike[str]) -> Plan:
    """The CSV that `Taxonomy.to_csv` writes, every cell as it stands; `Taxonomy.from_csv` describes it."""
    source = Content.of(Path(path))
    form: Format = "child-parent" if {*map(word, source.table.rows[0])}.issuperset(EDGE_HEADER) else "paths"
    return given_of(source, Reading(os.fspath(path), form, header=True)).plan()


@_uncollected()
def read_plan(options: Reading) -> Plan:
    """What a `Taxonomy` is made of, without importing torch; raises as `read_taxonomy`."""
    try:
        return read_given(options).plan()
    except UserError:
        if Path(options.file).suffix.lower() not in (".csv", ".tsv"):
            read_given(options, placed=True).plan()  # again, slower, so that texts know their lines
        raise


@_uncollected()
def read_given(options: Reading, placed: bool = False) -> Given:
    """What a file says, be it a tree or not; raises `UserError` where it cannot be read or its format is not certain.

    `placed` makes faults of JSON know their line, which takes several times as long.
    """
    if Path(options.file).suffix.lower() == BUNDLE:  # a program wrote it: every cell as it stands
        options = replace(options, format="paths", header=True)
    return given_of(Content.of(Path(options.file).expanduser(), placed, options.select), options)


def given_of(file: Content, options: Reading) -> Given:
    """What a text says, see `read_given`."""
    if options.format in ("newick", "dot"):
        kind: str = options.format
    else:
        kind = "lines" if file.is_table else next(kind for kind, (opens, _) in _KINDS_OF_FILE.items() if opens(file))
    forced = options.format == "outline" and file.sheet is None
    guess = _best([*(of_outline(file, True) if forced else _KINDS_OF_FILE[kind][1](file, options))], file, options)
    # What is asked for and would change nothing was meant for another file.
    idle = {
        "select": options.select is not None and kind != "document" and file.sheet is None,
        "columns": bool(options.columns)
        and (guess.format not in _TABLE_FORMATS or (kind == "document" and not guess.said)),
        "names": bool(options.names) and guess.format not in _WITH_NAMES,
    }
    if useless := ", ".join(name for name, is_idle in idle.items() if is_idle):
        raise UserError(f"{file.path}: {useless} cannot be used with the format {guess.format}")
    form = guess.read()
    if options.parents == "first" and isinstance(form, Links):  # of a path each node has one parent
        form = form.with_first_parents()
    if options.leaves:
        form = form.above(dict.fromkeys(leaf_list(options.leaves)))
    form = replace(form, levels=options.levels or form.levels, findings=[*file.findings, *form.findings])
    return Given(str(file.path), guess.format, guess.why, form)


def _of_lines(file: Content, options: Reading) -> Iterator[Guess]:
    """Lines: indented, paths or codes without a header, links, rows of levels, names."""
    if not file.is_table:
        indented = [*of_outline(file)]
        yield from indented
        if indented and not options.columns and options.format is None:
            return
    table, header = file.table, options.header
    if header is None and heads_paths(table):
        header = True
    named = speaks_of_columns(table.rows[0]) or word(table.rows[0][0]) in PATH
    if header is None and not named and not options.columns and options.format in (None, "paths", "leaf-first"):
        whole = [guess for guess in of_texts(table) if guess.score == 2]
        if whole:
            yield from whole  # paths or codes in each line, which have no header
            return
    if header is None and options.format == "list" and not table.certain:
        header = False
    table = table.headed(header, str(file.path))
    if not table.rows:
        raise UserError(f"{file.path}: there is nothing below its header")
    yield from of_table(table, file, options)


def _best(guesses: list[Guess], file: Content, options: Reading) -> Guess:
    """The guess with the best score, where all that have it agree on the format; or the best of those asked for."""
    if options.format:
        asked = [guess for guess in guesses if guess.format == options.format]
        if not asked:
            found = ", ".join(dict.fromkeys(guess.format for guess in guesses)) or "nothing known"
            raise UserError(f"{file.path}: it cannot be read as {options.format}; it could be: {found}")
        best = max(asked, key=lambda guess: guess.score)
        return replace(best, why=f"as asked for: {best.why}" if best.why != "as asked for" else best.why)
    if not guesses:
        raise UserError(f"{file.path}: no taxonomy is recognised in it", hint=_WAYS_OUT)
    top = max(guess.score for guess in guesses)
    choices = {guess.format: guess for guess in reversed(guesses) if guess.score == top}
    if top and len(choices) == 1:
        return next(iter(choices.values()))
    raise UserError(
        f"{file.path}: its format is not certain; it could be",
        [f"--format {name}: {FORMATS[name][0]}; here {guess}" for name, guess in sorted(choices.items())],
        _WAYS_OUT,
    )
