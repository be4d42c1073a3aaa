"""iNaturalist 2021: COCO-style JSON with seven ranks for each species."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from hierfit.config.schema import nearest
from hierfit.data.home import Home
from hierfit.data.records import read_json
from hierfit.data.samples import Sample, several
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")
_KEYS: dict[str, dict[str, type]] = {
    "categories": {"id": int, **dict.fromkeys(("name", *_RANKS[:-1]), str)},
    "annotations": {"image_id": int, "category_id": int},
    "images": {"id": int, "file_name": str},
}
"""Of the objects in the three lists of a file, the keys that are read."""


def inaturalist(
    home: Home, *, files: Mapping[str, str] = {"train": "train.json", "test": "val.json"}
) -> Iterator[Sample]:
    """``train.json`` and ``val.json``, and the pictures at the paths they give (``train/…``, ``val/…``).

    The tree is read from the categories: its levels are the card's, so a card chooses any of the seven ranks, coarse to
    fine. A species is called by its whole name.

    Args:
        home: Where they lie.
        files: JSON of each split.
    """
    levels = list(home.card.levels)
    if unknown := [f"{level!r}{nearest(level, _RANKS)}" for level in levels if level not in _RANKS]:
        raise UserError(f"{home.card.path}: levels that are no ranks of iNaturalist", unknown)
    columns = ["name" if level == "species" else level for level in levels]
    home.base = home.holding(list(files.values()))
    paths: dict[int, tuple[str, ...]] = {}
    for split, name in files.items():
        content = _content(home.base / name)
        here = {category["id"]: tuple(category[key] for key in columns) for category in content["categories"]}
        differ = [str(number) for number, path in here.items() if paths.setdefault(number, path) != path]
        home.report(f"{name}: not as in the other files: category", differ)
        label = {row["image_id"]: row["category_id"] for row in content["annotations"]}
        images = content["images"]
        home.report(f"{name}: no category of image", [str(r["id"]) for r in images if label.get(r["id"]) not in here])
        for row in images:
            if label.get(row["id"]) in here:
                yield Sample(split, row["file_name"], paths[label[row["id"]]])
    home.tree = Taxonomy.from_paths(list(dict.fromkeys(paths.values())), levels)


def _content(path: Path) -> dict[str, list[dict[str, Any]]]:
    content, problems = read_json(path), []
    for part, keys in _KEYS.items():
        rows = content.get(part) if isinstance(content, dict) else None
        if not isinstance(rows, list):
            problems.append(f"no list {part!r}")
            continue
        bad = [
            str(i)
            for i, row in enumerate(rows)
            if not isinstance(row, dict) or any(type(row.get(key)) is not kind for key, kind in keys.items())
        ]
        problems += several(f"{part}: without one of {', '.join(keys)}, or one of another type: row", bad)
    if problems:
        raise UserError(f"{path} is not as iNaturalist 2021 comes", problems)
    found: dict[str, list[dict[str, Any]]] = content
    return found
