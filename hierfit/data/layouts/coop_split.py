"""The splits of CoOp (Zhou et al. 2022): one JSON of all samples, and pickles of few-shot draws."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hierfit.data.layouts import home_of
from hierfit.data.pickles import Fields, load_pickle
from hierfit.data.samples import Samples
from hierfit.data.table import SPLITS, Table, several
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

_DATUM = {module: "Datum" for module in ("dassl.data.datasets.base_dataset", "dassl.data.datasets")}
_DRAW = re.compile(r"shot_([1-9]\d*)-seed_(\d+)\.pkl")


@dataclass(frozen=True)
class CoopSplit:
    """``split_zhou_<name>.json`` with ``{"train": [[path, number, class], …], "val": …, "test": …}``.

    Where the card has no tree, the classes are those of the JSON, in the order of their names, without a tree.

    Attributes:
        file: The JSON, below the root.
        images: Folder below the root that its paths start from.
        names: What the tree calls a class that the JSON calls by a name of its own, other than in spelling.
        draws: Seed of the ready draws to take from ``split_fewshot/shot_<K>-seed_<S>.pkl``; null takes none, and draws
            are hierfit's own. Of their two parts only ``train`` is taken.
    """

    file: str
    images: str = "images"
    names: Mapping[str, str] = field(default_factory=dict)
    draws: int | None = None

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the JSON; raises `UserError` when it, or a draw, is missing or not sound."""
        home = home_of(root, card, [self.file, self.images])
        samples = Samples(home / self.images, problems)
        parts = _parts(home / self.file)
        for split in SPLITS:
            for number, row in enumerate(parts[split]):
                where = f"{self.file}: {split}[{number}]"
                if not _is_sample(row):
                    problems.append(f"{where}: expected [path, number, class]")
                else:
                    samples.add(split, row[0], row[2])
        if self.draws is not None:
            self._add_draws(home, {row[0]: row[2] for row in parts["train"] if _is_sample(row)}, samples, problems)
        tree = card.taxonomy
        if tree is None:
            classes = sorted({row[2] for split in SPLITS for row in parts[split] if _is_sample(row)})
            tree = Taxonomy.from_paths([[name] for name in classes], list(card.levels))
        return samples.table(tree, self.names)

    def _add_draws(self, home: Path, train: Mapping[str, str], samples: Samples, problems: list[str]) -> None:
        """Ready draws; a picture is found in the split's list by the end of its path on the machine they come from."""
        folder = home / "split_fewshot"
        draws = sorted(
            (int(found[1]), path)
            for path in folder.glob("*.pkl")
            if (found := _DRAW.fullmatch(path.name)) and int(found[2]) == self.draws
        )
        if not draws:
            raise UserError(
                f"{folder} has no draw of seed {self.draws}",
                hint=f"It should hold files shot_16-seed_{self.draws}.pkl; or take layout.draws out of the card.",
            )
        for shots, path in draws:
            unknown = []
            for place in _drawn(path):
                key = place.replace("\\", "/").rpartition(f"/{self.images}/")[2]
                if key in train:
                    samples.add(f"train{shots}", key, train[key])
                else:
                    unknown.append(place)
            problems += several(f"{path.name}: not in 'train' of {self.file}:", unknown)


def _parts(path: Path) -> dict[str, list[Any]]:
    try:
        parts = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{path}: not valid JSON: {error}") from error
    if not isinstance(parts, dict) or not all(isinstance(parts.get(split), list) for split in SPLITS):
        raise UserError(f"{path}: expected lists 'train', 'val' and 'test' in one object")
    return parts


def _is_sample(row: object) -> bool:
    return (
        isinstance(row, list)
        and len(row) == 3
        and isinstance(row[0], str)
        and type(row[1]) is int
        and isinstance(row[2], str)
    )


def _drawn(path: Path) -> list[str]:
    """Paths of the pictures of a draw, as they were where it was made."""
    draw = load_pickle(path, _DATUM)
    rows = draw.get("train") if isinstance(draw, dict) else None
    places = [row.values.get("_impath") if isinstance(row, Fields) else None for row in rows or [None]]
    if not isinstance(rows, list) or not all(isinstance(place, str) for place in places):
        raise UserError(f"{path}: it has no list 'train' of CoOp's samples")
    return [str(place) for place in places]
