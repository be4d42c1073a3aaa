"""From a file of any format to what it says, and to a tree; every reader is asked, and the best evidence wins."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierfit.errors import UserError
from hierfit.taxonomy.build import Plan
from hierfit.taxonomy.checks import EDGE_HEADER
from hierfit.taxonomy.readers import columns, documents, graphs, lines, links, nested, newick, outline, rows
from hierfit.taxonomy.readers.given import FORMATS, Claim, Format, Given, Reading, Score
from hierfit.taxonomy.readers.indices import leaf_list
from hierfit.taxonomy.readers.source import Source

if TYPE_CHECKING:
    from hierfit.taxonomy.tree import Taxonomy


_OF_TABLES = ("paths", "leaf-first", "indices", "child-parent", "parent-child")
_WITH_NAMES = ("child-parent", "parent-child", "node-link", "indices")


def read_taxonomy(path: str | os.PathLike[str], format: Format | None = None, **options: Any) -> Taxonomy:
    """Read a tree from a file of any format.

    Args:
        path: The file.
        format: See `hierfit.taxonomy.readers.given.Format`; None to find it out from the content.
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
    source = Source.of(Path(path))
    header = {columns.word(cell) for cell in source.table.rows[0]}
    form: Format = "child-parent" if header.issuperset(EDGE_HEADER) else "paths"
    return given_of(source, Reading(os.fspath(path), form, header=True)).plan()


def read_plan(options: Reading) -> Plan:
    """What a `Taxonomy` is made of, without importing torch; raises as `read_taxonomy`."""
    try:
        return read_given(options).plan()
    except UserError as error:
        if Path(options.file).suffix.lower() in (".csv", ".tsv"):
            raise
        read_given(options, placed=True).plan()  # again, slower, so that texts know their lines
        raise error


def read_given(options: Reading, placed: bool = False) -> Given:
    """What a file says, be it a tree or not.

    Args:
        options: The file, and how to read it.
        placed: Whether faults of JSON shall know their line; that takes several times as long.

    Raises:
        UserError: The file cannot be read, or its format is not certain.
    """
    return given_of(Source.of(Path(options.file).expanduser(), placed, options.select), options)


def given_of(source: Source, options: Reading) -> Given:
    """What a text says, see `read_given`."""
    claim = _best([*_claims(source, options)], source, options)
    _refuse_idle_options(claim.format, source, options)
    form = claim.read()
    if options.parents == "first":
        form = form.with_first_parents()
    if options.leaves:
        form = form.above(dict.fromkeys(leaf_list(options.leaves)))
    if options.levels:
        form = replace(form, levels=options.levels)
    form = replace(form, findings=[*source.findings, *form.findings])
    return Given(str(source.path), claim.format, claim.why, form)


def _claims(source: Source, options: Reading) -> Iterator[Claim]:
    """Whatever readers take the file for."""
    wanted, kind = options.format, source.kind
    if wanted == "outline" and source.sheet is None:
        yield outline.forced(source)
    elif kind == "newick" or wanted == "newick":
        yield newick.claim(source)
    elif kind == "xml":
        yield from nested.xml_claims(source)
    elif kind == "dot" or wanted == "dot":
        yield graphs.dot_claim(source)
    elif kind == "obo":
        yield graphs.obo_claim(source)
    elif kind == "document":
        yield from documents.claims(source, options)
    else:
        if source.sheet is None and source.path.suffix.lower() not in (".csv", ".tsv"):
            found = [*outline.claims(source)]
            yield from found
            if found and not options.columns and wanted is None:
                return
        yield from _of_table(source, options)


def _of_table(source: Source, options: Reading) -> Iterator[Claim]:
    table = source.table
    named = columns.speaks_of_columns(table.rows[0]) or columns.word(table.rows[0][0]) in columns.PATH
    if options.header is None and not named and not options.columns and options.format in (None, "paths", "leaf-first"):
        whole = [claim for claim in lines.claims(table) if claim.score == Score.CERTAIN]
        if whole:
            yield from whole  # paths or codes in each line, which have no header
            return
    header = False if options.header is None and options.format == "list" and not table.is_csv else options.header
    table = table.headed(header, str(source.path))
    if not table.rows:
        raise UserError(f"{source.path}: there is nothing below its header")
    found = [*links.claims(table, source, options)]
    yield from found
    if options.format is None and any(claim.score == Score.CERTAIN for claim in found):
        return
    yield from rows.claims(table, source, options)
    yield from lines.claims(table)


def _best(claims: list[Claim], source: Source, options: Reading) -> Claim:
    if options.format:
        asked = [claim for claim in claims if claim.format == options.format]
        if not asked:
            found = ", ".join(dict.fromkeys(claim.format for claim in claims)) or "nothing known"
            raise UserError(f"{source.path}: it cannot be read as {options.format}; it could be: {found}")
        best = max(asked, key=lambda claim: claim.score)
        return replace(best, why=f"as asked for: {best.why}" if best.why != "as asked for" else best.why)
    top = max((claim.score for claim in claims), default=None)
    best_claims = [claim for claim in claims if claim.score == top]
    if top is not None and top > Score.POSSIBLE and len({claim.format for claim in best_claims}) == 1:
        return best_claims[0]
    if not claims:
        raise UserError(f"{source.path}: no taxonomy is recognised in it", hint=_HINT)
    choices = {claim.format: claim for claim in best_claims[::-1]}
    raise UserError(
        f"{source.path}: its format is not certain; it could be",
        [f"--format {name}: {FORMATS[name][0]}; here {claim.why}" for name, claim in sorted(choices.items())],
        _HINT,
    )


_HINT = (
    "Give one of these formats (in a data card, `taxonomy: {file: …, format: …}`), or the columns to read, coarse to "
    "fine: --columns 2,1."
)


def _refuse_idle_options(form: str, source: Source, options: Reading) -> None:
    """What is told and would change nothing was meant for another file."""
    is_document = source.kind == "document"
    idle = {
        "select": options.select is not None and not (is_document or source.sheet is not None),
        "columns": bool(options.columns) and (is_document or form not in _OF_TABLES),
        "names": bool(options.names) and form not in _WITH_NAMES,
    }
    if told := [name for name, is_idle in idle.items() if is_idle]:
        raise UserError(f"{source.path}: {', '.join(told)} cannot be used with the format {form}")
