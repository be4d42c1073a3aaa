"""The text of a data card, with a word on each key for who will mend it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from textwrap import wrap

_WIDTH = 110
_BARE = re.compile(r"[A-Za-z](?:[A-Za-z0-9_./ -]*[A-Za-z0-9_])?")
_KEPT = {"true", "false", "yes", "no", "on", "off", "null", "y", "n"}


def card_text(
    name: str,
    root: str,
    taxonomy: object,
    levels: Mapping[str, int],
    remarks: Iterable[str],
    layout: Mapping[str, object],
    splits: Mapping[str, Mapping[str, int]],
    templates: Mapping[str, Sequence[str]],
    names: Mapping[str, str],
    leave_out: Mapping[str, str],
) -> str:
    """YAML of a card that `load_card` reads; the arguments are its keys, remarks are comments above the layout."""
    lines = [
        "# Written by `hierfit data new`. Everything here may be changed;",
        "# `hierfit data check` says whether it still fits the data.",
        f"name: {_flow(name)} # the same as this file's",
        "version: 1 # raise it whenever the data or the tree come to mean something else",
        f"title: {_flow(name.replace('_', ' '))}",
        'citation: "" # whom to cite',
        'licence: "" # terms of the data',
        'obtain: "" # how to get the data; shown to who does not have them',
        f"root: {_flow(root)} # where they lie on this machine; data.root goes before it",
        "",
        "# The tree: a row for each leaf. A node is its whole path, so that equal names in two branches are two nodes.",
        f"taxonomy: {_flow(taxonomy)}",
        f"levels: {_flow(levels)} # coarse to fine, with their numbers of nodes",
        "",
        *(f"# {line}" for remark in remarks for line in wrap(remark, _WIDTH)),
        *_block("layout", layout),
        "",
    ]
    if splits:
        lines += ["# What each split must hold; `hierfit data check` counts.", *_block("splits", splits), ""]
    lines += [
        "# What a text tower reads of each node: {name}, {parent} and {path} are filled in; several are averaged.",
        '# Say what the pictures show ("…, a kind of bird."): it helps. `hierfit data prompts` shows the outcome.',
        *_block("templates", templates),
    ]
    if names:
        lines += ["", "# What classes are called in prompts and reports, where the data call them otherwise."]
        lines += _block("names", names)
    if leave_out:
        lines += ["", "# Not used, and why.", *_block("leave_out", leave_out)]
    return "\n".join(lines) + "\n"


def _block(key: str, entries: Mapping[str, object]) -> list[str]:
    return [f"{key}:", *(f"  {_flow(name)}: {_flow(value)}" for name, value in entries.items())]


def _flow(value: object) -> str:
    """A value on one line. A word that YAML reads as this text stays bare; all else is quoted as in JSON."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_flow(key)}: {_flow(entry)}" for key, entry in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    if isinstance(value, str) and _BARE.fullmatch(value) and value.casefold() not in _KEPT:
        return value
    # Not ASCII only: names stay readable, and JSON's escapes of pairs of surrogates are none in YAML.
    return json.dumps(value, ensure_ascii=False)
