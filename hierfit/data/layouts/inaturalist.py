"""iNaturalist 2021: COCO-style JSON with seven ranks for each species."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierfit.config.schema import nearest
from hierfit.data.layouts import home_of
from hierfit.data.samples import Samples
from hierfit.data.table import Table, several
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


@dataclass(frozen=True)
class Inaturalist:
    """``train.json`` and ``val.json``, and the pictures at the paths they give (``train/…``, ``val/…``).

    The tree is read from the categories: its levels are the card's, so a card chooses any of the seven ranks, coarse to
    fine. A species is called by its whole name.

    Attributes:
        files: JSON of each split.
    """

    files: Mapping[str, str] = field(default_factory=lambda: {"train": "train.json", "test": "val.json"})

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the JSONs; raises `UserError` when one is missing or not sound, or a level is no rank."""
        if unknown := [f"{level!r}{nearest(level, _RANKS)}" for level in card.levels if level not in _RANKS]:
            raise UserError(f"{card.path}: levels that are no ranks of iNaturalist", unknown)
        home = home_of(root, card, list(self.files.values()))
        paths: dict[Any, tuple[str, ...]] = {}
        samples = Samples(home, problems)
        for split, name in self.files.items():
            content = _content(home / name)
            here = {category["id"]: _path(category, card.levels) for category in content["categories"]}
            differ = [str(number) for number, path in here.items() if paths.setdefault(number, path) != path]
            problems += several(f"{name}: not as in the other files: category", differ)
            label = {row["image_id"]: row["category_id"] for row in content["annotations"]}
            images = content["images"]
            unlabelled = [str(row["id"]) for row in images if label.get(row["id"]) not in here]
            problems += several(f"{name}: no category of image", unlabelled)
            for row in images:
                if (number := label.get(row["id"])) in here:
                    samples.add(split, row["file_name"], paths[number])
        return samples.table(Taxonomy.from_paths(dict.fromkeys(paths.values()), list(card.levels)))


def _path(category: Mapping[str, Any], levels: Mapping[str, int | None]) -> tuple[str, ...]:
    return tuple(category["name" if level == "species" else level] for level in levels)


def _content(path: Path) -> dict[str, list[dict[str, Any]]]:
    """The three lists of a file, each of objects with the keys that are read: ids are numbers, the others texts."""
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error
    wanted: dict[str, dict[str, type]] = {
        "categories": {"id": int, **dict.fromkeys(("name", *_RANKS[:-1]), str)},
        "annotations": {"image_id": int, "category_id": int},
        "images": {"id": int, "file_name": str},
    }
    problems = []
    for part, keys in wanted.items():
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
    return content
