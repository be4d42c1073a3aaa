"""Names that mean one class though they are spelled otherwise, and cells that mean "not known"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from hierfit.data.names import clean_name
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.readers.tidy import placeholder
from hierfit.tools.printing import listed


def is_known(name: str) -> bool:
    """Whether a cell or folder names something, and is no ``not_classified``, ``NA``, ``incertae sedis`` or ``-``."""
    if name in ("-1", "-1.0", "-9999"):
        return False
    return re.search(r"[^\W_]", name) is not None and not placeholder(name)


def renamings(names: Iterable[str], taxonomy: Taxonomy | None, remarks: list[str]) -> dict[str, str]:
    """What the tree is to call each name that the data spell in several ways: ``{Beef_Tomato: Beef Tomato}``.

    Case, blanks, underscores, hyphens and Unicode forms do not tell names apart. Of several spellings the tree's own
    counts, else the commonest that has blanks, else the commonest.

    Args:
        names: All names of all labels, as often as they occur.
        taxonomy: A given tree.
        remarks: What was concluded is added here.
    """
    counts = Counter(names)
    own: dict[str, set[str]] = {}
    for name in taxonomy.names if taxonomy else ():
        own.setdefault(_words(name), set()).add(name)
    groups: dict[str, list[str]] = {}
    for name in counts:
        groups.setdefault(_words(name), []).append(name)
    changed: dict[str, str] = {}
    for words, group in groups.items():
        known = own.get(words, set())
        if len(known) > 1 or (taxonomy and not known):
            continue
        spelled = Counter({clean_name(name): 0 for name in group})
        for name in group:
            spelled[clean_name(name)] += counts[name]
        main = next(iter(known)) if known else max(spelled, key=lambda name: (" " in name, spelled[name], name))
        changed |= {name: main for name in group if clean_name(name) != clean_name(main)}
        if len(set(group)) > len(spelled):
            remarks.append(f"{main!r} is written in {len(set(group))} ways that look the same; it is one class.")
    if changed:
        shown = listed([f"{old} = {new}" for old, new in changed.items()])
        remarks.append(f"Taken for one class each, renamed under `names`: {shown}.")
    return changed


def not_known(cells: Iterable[str], remarks: list[str]) -> set[str]:
    """Those of the cells that stand for nothing, with a remark on them."""
    found = Counter(cell for cell in cells if cell and not is_known(cell))
    if found:
        kinds = ", ".join(f"{cell!r} ({count})" for cell, count in found.most_common(5))
        remarks.append(f'Taken for "not known": {kinds}; such pictures have the coarser label.')
    return set(found)


def _words(name: str) -> str:
    return " ".join(re.sub(r"[\s_\-‐‑’']+", " ", clean_name(name).casefold()).split())
