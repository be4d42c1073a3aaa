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
from typing import Any, TextIO

import numpy as np

from hierfit.atomic import whole_file
from hierfit.errors import UserError
from hierfit.taxonomy.build import Plan
from hierfit.taxonomy.index import tree_index
from hierfit.taxonomy.readers.given import Format, Reading
from hierfit.taxonomy.readers.read import given_of
from hierfit.taxonomy.readers.source import Source

_DEEPEST_JSON = 400  # json of the standard library gives up near 1000 nested values, two for each node


def paths_csv(plan: Plan) -> str:
    """A row for each leaf under the level names: the form of data cards, which keeps everything."""
    return csv_text(plan.levels, leaf_rows(plan))


def leaf_rows(plan: Plan) -> Iterator[list[str]]:
    """Names from root to leaf, depth first: such rows are numbered as before when they are read."""
    _, arrays = tree_index(plan.parent)
    level, first, count = (arrays[key].tolist() for key in ("level", "first_child", "num_children"))
    stack = list(reversed(range(int((plan.parent < 0).sum()))))
    path: list[str] = []
    while stack:
        node = stack.pop()
        del path[level[node] :]
        path.append(plan.names[node])
        if count[node]:
            stack.extend(reversed(range(first[node], first[node] + count[node])))
        else:
            yield path


def csv_text(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, short rows filled up with empty cells."""
    text = io.StringIO()
    _write_rows(text, header, rows)
    return text.getvalue()


def write_csv(path: str | os.PathLike[str], header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Write a table whole or not at all, short rows filled up with empty cells."""
    with whole_file(Path(path)) as draft, draft.open("w", encoding="utf-8", newline="") as file:
        _write_rows(file, header, rows)


def _write_rows(file: TextIO, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(header)
    writer.writerows([*row, *[""] * (len(header) - len(row))] for row in rows)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all."""
    with whole_file(path) as draft:
        draft.write_text(text, encoding="utf-8", newline="")


def parents_csv(plan: Plan) -> str:
    """A row for each node under ``name,parent``; all names must differ."""
    twice = [name for name, count in Counter(plan.names).items() if count > 1]
    if twice:
        raise UserError(
            "a table of name,parent needs a name of its own for each node",
            [f"{name!r} names several nodes" for name in twice],
            "Use --to paths or --to node-link.",
        )
    parents = ["" if parent < 0 else plan.names[parent] for parent in plan.parent.tolist()]
    return csv_text(("name", "parent"), zip(plan.names, parents, strict=True))


def nested_json(plan: Plan) -> str:
    """Mappings in mappings, a leaf an empty one. Level names are lost."""
    _check_depth(plan)
    tree: dict[str, Any] = {}
    below: list[dict[str, Any]] = [{} for _ in plan.names]
    for node, (name, parent) in enumerate(zip(plan.names, plan.parent.tolist(), strict=True)):
        (tree if parent < 0 else below[parent])[name] = below[node]
    return json.dumps(tree, ensure_ascii=False, indent=1) + "\n"


def node_link_json(plan: Plan) -> str:
    """networkx's node-link JSON: ids count the nodes, `label` is the name, ``graph.levels`` the levels' names."""
    links = [{"source": parent, "target": node} for node, parent in enumerate(plan.parent.tolist()) if parent >= 0]
    graph = {
        "directed": True,
        "multigraph": False,
        "graph": {"levels": list(plan.levels)},
        "nodes": [{"id": node, "label": name} for node, name in enumerate(plan.names)],
        "edges": links,
    }
    return json.dumps(graph, ensure_ascii=False) + "\n"


def newick(plan: Plan) -> str:
    """Newick, names in quotes where they need them; several roots stand below one without a name."""
    roots = int((plan.parent < 0).sum())
    text = "".join(_brackets(plan))
    return f"({text});\n" if roots > 1 else f"{text};\n"


def _brackets(plan: Plan) -> Iterator[str]:
    _, arrays = tree_index(plan.parent)
    first, count = arrays["first_child"].tolist(), arrays["num_children"].tolist()
    stack: list[tuple[int, bool, bool]] = []  # node, whether it closes, whether a comma goes before

    def push(nodes: range, comma: bool = False) -> None:
        stack.extend((node, False, comma or node > nodes.start) for node in reversed(nodes))

    push(range(int((plan.parent < 0).sum())))
    while stack:
        node, closes, comma = stack.pop()
        if closes:
            yield ")"
        elif comma:
            yield ","
        if closes or not count[node]:
            yield _quoted(plan.names[node])
        else:
            yield "("
            stack.append((node, True, False))
            push(range(first[node], first[node] + count[node]))


def _quoted(name: str) -> str:
    return name if re.fullmatch(r"[\w.-]*[^\W\d][\w.-]*", name) else "'" + name.replace("'", "''") + "'"


def outline(plan: Plan) -> str:
    """A line a node, two blanks further in for each level. Level names are lost."""
    _, arrays = tree_index(plan.parent)
    level, first, count = (arrays[key].tolist() for key in ("level", "first_child", "num_children"))
    stack = list(reversed(range(int((plan.parent < 0).sum()))))
    lines = []
    while stack:
        node = stack.pop()
        lines.append(f"{'  ' * level[node]}{plan.names[node]}\n")
        stack += reversed(range(first[node], first[node] + count[node]))
    return "".join(lines)


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

_SUFFIXES: Mapping[str, Format] = {
    ".csv": "paths",
    ".json": "nested",
    ".nwk": "newick",
    ".newick": "newick",
    ".txt": "outline",
}


def format_of(path: Path) -> Format | None:
    """What a file's name asks for."""
    return _SUFFIXES.get(path.suffix.lower())


def write(plan: Plan, path: Path, form: Format) -> str:
    """Write a tree, whole or not at all, once it is seen to read back as the same.

    Returns:
        What the reader has to be told: nothing, or ``--format …`` where the content alone does not show the format.

    Raises:
        UserError: The format cannot hold this tree.
    """
    text = WRITERS[form](plan)
    options = _reading_back(plan, Source(path, text), form)
    try:
        write_text(path, text)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None
    return options


def _reading_back(plan: Plan, source: Source, form: Format) -> str:
    """The options by which the text reads as the same tree; raises `UserError` where none do."""
    header = True if form in ("paths", "child-parent") else None
    for shown, options in (("", Reading("")), (f"--format {form}", Reading("", form, header=header))):
        try:
            if same(given_of(source, options).plan(), plan, form in KEEP_LEVELS):
                return shown + (" --header" if shown and header else "")
        except UserError:
            continue
    raise UserError(
        f"{source.path}: not written: as {form} this tree would read back as another",
        hint="Use --to node-link or --to paths.",
    )


def same(one: Plan, other: Plan, levels: bool) -> bool:
    """Whether two trees are the same, nodes, order and all.

    Args:
        one: A tree.
        other: The other.
        levels: Whether the names of levels count.
    """
    return (
        one.names == other.names
        and np.array_equal(one.parent, other.parent)
        and (not levels or one.levels == other.levels)
    )


def _check_depth(plan: Plan) -> None:
    if len(plan.levels) > _DEEPEST_JSON:
        raise UserError(
            f"nested JSON holds {_DEEPEST_JSON} levels, and this tree has {len(plan.levels)}",
            hint="Use --to node-link, --to newick or --to paths.",
        )
