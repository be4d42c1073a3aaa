"""From a file of any format to what it says, and to a tree."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from hierfit.errors import UserError
from hierfit.taxonomy.readers import indices, nested
from hierfit.taxonomy.readers.detect import Found, detect, selected
from hierfit.taxonomy.readers.document import Pairs, is_list, place_of
from hierfit.taxonomy.readers.edges import columns_of, links_of, read_edges
from hierfit.taxonomy.readers.given import Form, Given, Links, Rows
from hierfit.taxonomy.readers.named import id_names, leaf_list
from hierfit.taxonomy.readers.newick import read_newick
from hierfit.taxonomy.readers.node_link import read_node_link
from hierfit.taxonomy.readers.options import Format, Reading
from hierfit.taxonomy.readers.outline import read_outline
from hierfit.taxonomy.readers.paths import read_paths
from hierfit.taxonomy.readers.ranks import read_rank_table, read_records
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import lines_of

if TYPE_CHECKING:
    from hierfit.taxonomy.tree import Taxonomy

FORMATS: tuple[str, ...] = get_args(Format)


def read_taxonomy(path: str | os.PathLike[str], format: Format | None = None, **options: Any) -> Taxonomy:
    """Read a tree from a file of any format.

    Args:
        path: The file.
        format: See `hierfit.taxonomy.readers.options.Format`; None to find it out from the content.
        options: The other attributes of `hierfit.taxonomy.readers.options.Reading`: select, header, columns, levels,
            names, leaves, parents.

    Raises:
        UserError: The file cannot be read, its format is not certain (with the formats to choose from), or it holds
            no tree: everything that is wrong, each with its line.
    """
    from hierfit.taxonomy.tree import Taxonomy

    return Taxonomy.of_plan(read_plan(Reading(os.fspath(path), format, **options)))


def read_plan(options: Reading) -> Any:
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
    return given_of(Source.of(Path(options.file).expanduser(), placed), options)


def given_of(source: Source, options: Reading) -> Given:
    """What a text says, see `read_given`."""
    found = Found(options.format, "as asked for") if options.format else detect(source, options)
    _refuse_idle_options(found.format, source, options)
    form = _READERS[found.format](source, options)
    if options.parents == "first":
        form = form.with_first_parents()
    if options.leaves:
        form = form.above(dict.fromkeys(leaf_list(options.leaves)))
    if options.levels:
        form = replace(form, levels=options.levels)
    return Given(str(source.path), found.format, found.why, form)


def _refuse_idle_options(form: str, source: Source, options: Reading) -> None:
    """What is told and would change nothing was meant for another file."""
    of_python = form == "indices" and indices.assigned(source.text)
    idle = {
        "select": options.select is not None and not (source.is_document or of_python),
        "columns": options.columns and (source.is_document or form in ("newick", "outline", "list", "ranks")),
        "names": options.names and form not in ("child-parent", "parent-child", "node-link", "indices"),
    }
    if told := [name for name, is_idle in idle.items() if is_idle]:
        raise UserError(f"{source.path}: {', '.join(told)} cannot be used with the format {form}")


def _paths(source: Source, options: Reading) -> Form:
    return _rows_of_document(source, options, False) if source.is_document else read_paths(source, options, "paths")


def _leaf_first(source: Source, options: Reading) -> Form:
    if source.is_document:
        return _rows_of_document(source, options, True)
    return read_paths(source, options, "leaf-first")


def _rows_of_document(source: Source, options: Reading, leaf_first: bool) -> Rows:
    value = selected(source, options)
    faults: list[str] = []
    rows = []
    for number, entry in enumerate(value if is_list(value) else [value]):
        if not is_list(entry) or any(isinstance(cell, list) for cell in entry):
            faults.append(f"entry {number + 1}: expected a list of names")
            continue
        row = [nested.as_name(cell, faults) for cell in entry]
        rows.append(row[::-1] if leaf_first else row)
    return Rows(rows, lambda row: place_of(*rows[row][::-1]), None, faults)


def _child_parent(source: Source, options: Reading) -> Form:
    if source.is_document:
        return _links_of_document(source, options)
    return read_edges(source, options, "child-parent")


def _parent_child(source: Source, options: Reading) -> Form:
    if source.is_document:
        raise UserError(f"{source.path}: parent-child is a format of tables; JSON gives the child first")
    return read_edges(source, options, "parent-child")


def _links_of_document(source: Source, options: Reading) -> Links:
    value = selected(source, options)
    faults: list[str] = []
    pairs: list[tuple[str, str | None]] = []
    labels: dict[str, str] = {}
    if isinstance(value, Pairs):
        entries: list[Any] = [[key, parent] for key, parent in value]
    else:
        entries = []
        for entry in value if isinstance(value, list) else []:
            if isinstance(entry, Pairs):
                at = columns_of(entry.names())
                if at and at.label is not None and isinstance(name := entry[at.label][1], str):
                    labels[str(entry[at.child][1])] = name
                entry = [entry[at.child][1], entry[at.parent][1]] if at else []
            entries.append(entry)
    for number, entry in enumerate(entries):
        if not isinstance(entry, list) or len(entry) != 2 or any(isinstance(cell, list) for cell in entry):
            faults.append(f"entry {number + 1}: expected a child and its parent")
        else:
            parent = None if entry[1] is None or entry[1] == "" else nested.as_name(entry[1], faults)
            pairs.append((nested.as_name(entry[0], faults), parent))
    labels |= id_names(options, source, [name for pair in pairs for name in pair if name], faults)
    closed = any(not parent for _, parent in pairs)
    return links_of(pairs, lambda link: place_of(*pairs[link]), closed, labels, faults)


def _nested(source: Source, options: Reading) -> Form:
    return nested.read_nested(selected(source, options))


def _ancestors(source: Source, options: Reading) -> Form:
    value = selected(source, options)
    levels = None
    if isinstance(value, Pairs) and isinstance(value.get("leaf_to_path"), Pairs):
        levels = value.get("levels")
        value = value.get("leaf_to_path")
    if not isinstance(value, Pairs):
        raise UserError(f"{source.path}: expected {{leaf: [parent, …]}}")
    rows = nested.read_ancestors(value)
    if isinstance(levels, list) and all(isinstance(level, str) for level in levels):
        rows = replace(rows, levels=levels[::-1])
    return rows


def _node_link(source: Source, options: Reading) -> Form:
    value = selected(source, options)
    if not isinstance(value, Pairs):
        raise UserError(f"{source.path}: node-link JSON is an object with 'nodes' and 'links'")
    return read_node_link(value, source, options)


def _indices(source: Source, options: Reading) -> Form:
    if source.is_document:
        cells, where = indices.from_document(selected(source, options))
    elif indices.assigned(source.text):
        cells, where = indices.from_python(source, options)
    else:
        header = source.table.header(options.header, str(source.path))
        cells, where = indices.from_table(source.table.below_header() if header is not None else source.table)
    return indices.read_indices(cells, where, source, options)


def _ranks(source: Source, options: Reading) -> Form:
    if source.is_document:
        return read_records(selected(source, options))
    return read_rank_table(source)


def _list(source: Source, options: Reading) -> Form:
    if source.is_document:
        return nested.read_nested(selected(source, options))
    if not source.table.is_csv:
        lines = [(i, line.strip()) for i, line in enumerate(lines_of(source.text), 1)]
        named = [(i, line) for i, line in lines if line and not line.startswith("#")]
        named = named[1:] if options.header else named
        return Rows([[line] for _, line in named], lambda row: f"line {named[row][0]}")
    header = source.table.header(options.header, str(source.path))
    body = source.table.below_header() if header is not None else source.table
    return Rows([row[:1] for row in body.rows], body.where, header[:1] if header else None)


_READERS: Mapping[str, Callable[[Source, Reading], Form]] = {
    "paths": _paths,
    "leaf-first": _leaf_first,
    "child-parent": _child_parent,
    "parent-child": _parent_child,
    "super-sub": _nested,
    "ancestors": _ancestors,
    "nested": _nested,
    "node-link": _node_link,
    "indices": _indices,
    "ranks": _ranks,
    "newick": read_newick,
    "outline": read_outline,
    "list": _list,
}
