"""The text of a data card, with a word on each key for who will mend it."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from textwrap import wrap

from hierfit.tools.new.found import Found

_WIDTH = 110


def card_text(
    name: str,
    root: str,
    found: Found,
    counts: Mapping[str, Mapping[str, int]],
    templates: Mapping[str, Sequence[str]],
    names: Mapping[str, str],
    leave_out: Mapping[str, str],
    plain_tree: bool = True,
) -> str:
    """YAML of a card that `load_card` reads.

    Args:
        name: Of the card and its file.
        root: Where the data lie.
        found: Layout, tree and remarks.
        counts: Images and leaves of each split.
        templates: Prompt templates by level.
        names: Names for people.
        leave_out: Samples not used, and why.
        plain_tree: Whether the tree's file is read as what it is without more words.
    """
    tree = found.taxonomy
    sizes = ", ".join(f"{_scalar(level)}: {n}" for level, n in zip(tree.levels, tree.level_sizes, strict=True))
    file = f"{name}.csv"
    layout = found.layout if found.samples is None else {**found.layout, "samples": samples_file(name)}
    lines = [
        "# Written by `hierfit data new`. Everything here may be changed;",
        "# `hierfit data check` says whether it still fits the data.",
        f"name: {_scalar(name)} # the same as this file's",
        "version: 1 # raise it whenever the data or the tree come to mean something else",
        f"title: {_scalar(name.replace('_', ' '))}",
        'citation: "" # whom to cite',
        'licence: "" # terms of the data',
        'obtain: "" # how to get the data; shown to who does not have them',
        f"root: {_scalar(root)} # where they lie on this machine; data.root goes before it",
        "",
        "# The tree: a row for each leaf. A node is its whole path, so that equal names in two branches are two nodes.",
        f"taxonomy: {_flow(file if plain_tree else {'file': file, 'format': 'paths', 'header': True})}",
        f"levels: {{{sizes}}} # coarse to fine, with their numbers of nodes",
        "",
        *_comment(found.remarks),
        "layout:",
        *(f"  {key}: {_flow(value)}" for key, value in layout.items()),
        "",
        *_splits(counts),
        "# What a text tower reads of each node: {name}, {parent} and {path} are filled in; several are averaged.",
        '# Say what the pictures show ("…, a kind of bird."): it helps. `hierfit data prompts` shows the outcome.',
        "templates:",
        *(f"  {_scalar(level)}: {_flow(list(group))}" for level, group in templates.items()),
    ]
    if names:
        lines += ["", "# What classes are called in prompts and reports, where the data call them otherwise.", "names:"]
        lines += [f"  {_scalar(old)}: {_scalar(new)}" for old, new in names.items()]
    if leave_out:
        lines += ["", "# Not used, and why.", "leave_out:"]
        lines += [f"  {_scalar(key)}: {_scalar(why)}" for key, why in leave_out.items()]
    return "\n".join(lines) + "\n"


def samples_file(name: str) -> str:
    """The table of samples beside a card."""
    return f"{name}_samples.csv"


def _splits(counts: Mapping[str, Mapping[str, int]]) -> list[str]:
    if not counts:
        return []
    rows = [f"  {split}: {_flow(dict(part))}" for split, part in counts.items()]
    return ["# What each split must hold; `hierfit data check` counts.", "splits:", *rows, ""]


def _comment(remarks: Sequence[str]) -> list[str]:
    return [f"# {line}" for remark in remarks for line in wrap(remark, _WIDTH)]


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: object) -> str:
    """A word that YAML reads as this text stays bare; all else is quoted as in JSON, which is YAML."""
    if isinstance(value, str) and _BARE.fullmatch(value) and value.casefold() not in _KEPT:
        return value
    # Not ASCII only: names stay readable, and JSON's escapes of pairs of surrogates are none in YAML.
    return json.dumps(value, ensure_ascii=False)


_BARE = re.compile(r"[A-Za-z](?:[A-Za-z0-9_./ -]*[A-Za-z0-9_])?")
_KEPT = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}
