"""Trees as files: tables, nested JSON, node-link JSON, Newick, indented text."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import numpy as np

from hierfit.atomic import whole_file
from hierfit.errors import UserError
from hierfit.streams import ALIKE
from hierfit.taxonomy.build import Plan
from hierfit.taxonomy.index import tree_index

if TYPE_CHECKING:
    from hierfit.taxonomy.readers import Format

_DEEPEST_JSON = 400  # json of the standard library gives up near 1000 nested values, two for each node


def depth_first(plan: Plan) -> Iterator[tuple[int, int]]:
    """Nodes with their depth, each before what is below it."""
    _, arrays = tree_index(plan.parent)
    first, count = arrays["first_child"].tolist(), arrays["num_children"].tolist()
    stack = [(node, 0) for node in reversed(range(int((plan.parent < 0).sum())))]
    while stack:
        node, depth = stack.pop()
        yield node, depth
        stack += [(child, depth + 1) for child in reversed(range(first[node], first[node] + count[node]))]


def leaf_rows(plan: Plan) -> Iterator[list[str]]:
    """Names from root to leaf, depth first: such rows are numbered as before when they are read."""
    inner = set(plan.parent.tolist())
    path: list[str] = []
    for node, depth in depth_first(plan):
        del path[depth:]
        path.append(plan.names[node])
        if node not in inner:
            yield path


def write_csv(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table whole or not at all, short rows filled up with empty cells."""
    with whole_file(Path(path)) as draft, draft.open("w", encoding="utf-8", errors=ALIKE, newline="") as file:
        _write_rows(file, header, rows)


def _write_rows(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([*row, *[""] * (len(header) - len(row))] for row in rows)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; raises `UserError`."""
    try:
        with whole_file(path) as draft:
            draft.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def paths_csv(plan: Plan) -> str:
    """A row for each leaf under the level names: the form of data cards, which keeps everything."""
    text = io.StringIO()
    _write_rows(text, plan.levels, leaf_rows(plan))
    return text.getvalue()


def parents_csv(plan: Plan) -> str:
    """A row for each node under ``name,parent``; all names must differ."""
    if twice := [name for name, count in Counter(plan.names).items() if count > 1]:
        what = "a table of name,parent needs a name of its own for each node"
        raise UserError(what, [f"{name!r} names several nodes" for name in twice], "Use --to paths or --to node-link.")
    parents = ["" if parent < 0 else plan.names[parent] for parent in plan.parent.tolist()]
    text = io.StringIO()
    _write_rows(text, ("name", "parent"), zip(plan.names, parents, strict=True))
    return text.getvalue()


def nested_json(plan: Plan) -> str:
    """Mappings in mappings, a leaf an empty one. Level names are lost."""
    if len(plan.levels) > _DEEPEST_JSON:
        what = f"nested JSON holds {_DEEPEST_JSON} levels, and this tree has {len(plan.levels)}"
        raise UserError(what, hint="Use --to node-link, --to newick or --to paths.")
    below: list[dict[str, Any]] = [{} for _ in [*plan.names, "the roots, whose parent is −1"]]
    for node, (name, parent) in enumerate(zip(plan.names, plan.parent.tolist(), strict=True)):
        below[parent][name] = below[node]
    return json.dumps(below[-1], ensure_ascii=False, indent=1) + "\n"


def node_link_json(plan: Plan) -> str:
    """networkx's node-link JSON: ids count the nodes, `label` is the name, ``graph.levels`` the levels' names."""
    graph = {
        "directed": True,
        "multigraph": False,
        "graph": {"levels": list(plan.levels)},
        "nodes": [{"id": node, "label": name} for node, name in enumerate(plan.names)],
        "edges": [{"source": p, "target": node} for node, p in enumerate(plan.parent.tolist()) if p >= 0],
    }
    return json.dumps(graph, ensure_ascii=False) + "\n"


def newick(plan: Plan) -> str:
    """Newick, names in quotes where they need them; several roots stand below one without a name."""
    inner = set(plan.parent.tolist())
    parts: list[str] = []
    open_names: list[str] = []
    for node, depth in depth_first(plan):
        while len(open_names) > depth:
            parts.append(f"){open_names.pop()}")
        if parts and parts[-1] != "(":
            parts.append(",")
        name = plan.names[node]
        name = name if re.fullmatch(r"[\w.-]*[^\W\d][\w.-]*", name) else "'" + name.replace("'", "''") + "'"
        if node in inner:
            open_names.append(name)
        parts.append("(" if node in inner else name)
    text = "".join(parts) + "".join(f"){name}" for name in reversed(open_names))
    return f"({text});\n" if (plan.parent < 0).sum() > 1 else f"{text};\n"


def outline(plan: Plan) -> str:
    """A line a node, two blanks further in for each level. Level names are lost."""
    return "".join(f"{'  ' * depth}{plan.names[node]}\n" for node, depth in depth_first(plan))


WRITERS: Mapping[Format, Callable[[Plan], str]] = {
    "paths": paths_csv,
    "child-parent": parents_csv,
    "nested": nested_json,
    "node-link": node_link_json,
    "newick": newick,
    "outline": outline,
}
"""By the name of the format, which `read_taxonomy` knows, too."""

KEEP_LEVELS = ("paths", "node-link")
"""Formats that hold the names of levels."""

_OF_SUFFIX: Mapping[str, Format] = {
    ".csv": "paths", ".json": "nested", ".nwk": "newick", ".newick": "newick", ".txt": "outline"
}  # fmt: skip


def format_of(path: Path) -> Format | None:
    """What a file's name asks for."""
    return _OF_SUFFIX.get(path.suffix.lower())


def write(plan: Plan, path: Path, form: Format) -> str:
    """Write a tree, whole or not at all, once it is seen to read back as the same.

    Returns:
        What the reader has to be told: nothing, or ``--format …`` where the content alone does not show the format.

    Raises:
        UserError: The format cannot hold this tree.
    """
    text = WRITERS[form](plan)
    from hierfit.taxonomy.readers import Reading, given_of
    from hierfit.taxonomy.readers.source import Content

    source = Content(path, text)
    header = True if form in ("paths", "child-parent") else None
    for shown, options in (("", Reading("")), (f"--format {form}", Reading("", form, header=header))):
        try:
            found = given_of(source, options).plan()
        except UserError:
            continue
        if same(found, plan, form in KEEP_LEVELS):
            write_text(path, text)
            return shown + (" --header" if shown and header else "")
    what = f"{path}: not written: as {form} this tree would read back as another"
    raise UserError(what, hint="Use --to node-link or --to paths.")


def same(one: Plan, other: Plan, levels: bool) -> bool:
    """Whether two trees are the same, nodes, order and, if asked for, the names of levels."""
    named = one.names == other.names and (not levels or one.levels == other.levels)
    return named and np.array_equal(one.parent, other.parent)
