"""Data sets that come with JSON: iNaturalist 2021; the splits of CoOp (Zhou et al. 2022), and its few-shot draws."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from typing_extensions import TypedDict  # Python's own serves pydantic from 3.12 on

from hierfit.data.home import Home
from hierfit.data.layouts.pickles import Fields, load_pickle
from hierfit.data.records import read_typed
from hierfit.data.samples import SPLITS, Sample
from hierfit.errors import UserError, nearest
from hierfit.taxonomy import Taxonomy

_BIOLOGICAL_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


class _Image(TypedDict):
    id: int
    file_name: str


class _Annotation(TypedDict):
    image_id: int
    category_id: int


_Strings = dict.fromkeys(("name", *_BIOLOGICAL_RANKS[:-1]), str)
_Category = TypedDict("_Category", {"id": int, **_Strings})  # type: ignore[misc]


class _INaturalist(TypedDict):
    categories: list[_Category]
    annotations: list[_Annotation]
    images: list[_Image]


_CoOp = TypedDict("_CoOp", dict.fromkeys(SPLITS, list[tuple[str, int, str]]))  # type: ignore[misc]
"""Path, number and class of each picture."""

_DATUM = {module: "Datum" for module in ("dassl.data.datasets.base_dataset", "dassl.data.datasets")}
_DRAW = re.compile(r"shot_([1-9]\d*)-seed_(\d+)\.pkl")


def coop_split(
    home: Home, *, file: str, images: str = "images", names: Mapping[str, str] = {}, draws: int | None = None
) -> Iterator[Sample]:
    """``split_zhou_<name>.json`` with ``{"train": [[path, number, class], …], "val": …, "test": …}``.

    Where the card has no tree, the classes are those of the JSON, in the order of their names, without a tree.

    Args:
        file: The JSON, below the root.
        images: Folder below the root that its paths start from.
        names: What the tree calls a class that the JSON calls by a name of its own, other than in spelling.
        draws: Seed of the ready draws to take from ``split_fewshot/shot_<K>-seed_<S>.pkl``; null takes none, and draws
            are hierfit's own. Of their two parts only ``train`` is taken.
    """
    place = home.holding([file, images])
    home.base, home.names = place / images, names
    content = read_typed(place / file, _CoOp)
    label = {split: {path: name for path, _, name in rows} for split, rows in content.items()}
    yield from (Sample(split, path, name) for split in SPLITS for path, _, name in content[split])
    if home.card.taxonomy is None:
        classes = sorted({name for found in label.values() for name in found.values()})
        home.tree = Taxonomy.from_paths([[name] for name in classes], list(home.card.levels))
    for shots, path in [] if draws is None else _ready_draws(place / "split_fewshot", draws):
        for picture in _pictures_drawn(path):  # a path on the machine of the draw, whose end is that of the JSON
            key = picture.replace("\\", "/").rpartition(f"/{images}/")[2]
            if key in label["train"]:
                yield Sample(f"train{shots}", key, label["train"][key])
            else:
                home.report(f"{path.name}: not in 'train' of {file}:", [picture])


def _ready_draws(folder: Path, seed: int) -> list[tuple[int, Path]]:
    """Shots and file of each ready draw of a seed."""
    found = [(match, path) for path in folder.glob("*.pkl") if (match := _DRAW.fullmatch(path.name))]
    draws = sorted((int(match[1]), path) for match, path in found if int(match[2]) == seed)
    if not draws:
        raise UserError(
            f"{folder} has no draw of seed {seed}",
            hint=f"It should hold files shot_16-seed_{seed}.pkl; or take layout.draws out of the card.",
        )
    return draws


def _pictures_drawn(path: Path) -> list[str]:
    """Paths of the pictures of a draw, as they were where it was made."""
    draw = load_pickle(path, _DATUM)
    rows = draw.get("train") if isinstance(draw, dict) else None
    places = [row.values.get("_impath") if isinstance(row, Fields) else None for row in rows or [None]]
    if not isinstance(rows, list) or not all(isinstance(place, str) for place in places):
        raise UserError(f"{path}: it has no list 'train' of CoOp's samples")
    return [str(place) for place in places]


def inaturalist(
    home: Home, *, files: Mapping[str, str] = {"train": "train.json", "test": "val.json"}
) -> Iterator[Sample]:
    """``train.json`` and ``val.json``, and the pictures at the paths they give (``train/…``, ``val/…``).

    The tree is read from the categories: its levels are the card's, so a card chooses any of the seven ranks, coarse to
    fine. A species is called by its whole name.

    Args:
        files: JSON of each split.
    """
    levels = list(home.card.levels)
    if unknown := [f"{name!r}{nearest(name, _BIOLOGICAL_RANKS)}" for name in levels if name not in _BIOLOGICAL_RANKS]:
        raise UserError(f"{home.card.path}: levels that are no ranks of iNaturalist", unknown)
    columns = ["name" if level == "species" else level for level in levels]
    home.base = home.holding(list(files.values()))
    paths: dict[int, tuple[str, ...]] = {}
    for split, name in files.items():
        content = read_typed(home.base / name, _INaturalist)
        here = {category["id"]: tuple(category[key] for key in columns) for category in content["categories"]}
        differ = [str(number) for number, path in here.items() if paths.setdefault(number, path) != path]
        home.report(f"{name}: not as in the other files: category", differ)
        label = {row["image_id"]: row["category_id"] for row in content["annotations"]}
        for row in content["images"]:
            if label.get(row["id"]) in here:
                yield Sample(split, row["file_name"], paths[label[row["id"]]])
            else:
                home.report(f"{name}: no category of image", [str(row["id"])])
    home.tree = Taxonomy.from_paths(list(dict.fromkeys(paths.values())), levels)
