"""Data sets that come with JSON: iNaturalist 2021; the splits of CoOp (Zhou et al. 2022), and its few-shot draws."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from typing_extensions import TypedDict  # Python's own serves pydantic from 3.12 on

from hierfit.data.home import Home
from hierfit.data.layouts.pickles import Fields, load_pickle
from hierfit.data.records import read_json
from hierfit.data.samples import SPLITS, Sample
from hierfit.errors import UserError, nearest
from hierfit.taxonomy import Taxonomy

_RANKS = ("kingdom", "phylum", "class", "order", "family", "genus", "species")


class _Image(TypedDict):
    id: int
    file_name: str


class _Annotation(TypedDict):
    image_id: int
    category_id: int


_Category = TypedDict("_Category", {"id": int, **dict.fromkeys(("name", *_RANKS[:-1]), str)})  # type: ignore[misc]


class _Content(TypedDict):
    categories: list[_Category]
    annotations: list[_Annotation]
    images: list[_Image]


class _Splits(TypedDict):
    """Of CoOp: path, number and class of each picture."""

    train: list[tuple[str, int, str]]
    val: list[tuple[str, int, str]]
    test: list[tuple[str, int, str]]


_DATUM = {module: "Datum" for module in ("dassl.data.datasets.base_dataset", "dassl.data.datasets")}
_DRAW = re.compile(r"shot_([1-9]\d*)-seed_(\d+)\.pkl")


def coop_split(
    home: Home, *, file: str, images: str = "images", names: Mapping[str, str] = {}, draws: int | None = None
) -> Iterator[Sample]:
    """``split_zhou_<name>.json`` with ``{"train": [[path, number, class], …], "val": …, "test": …}``.

    Where the card has no tree, the classes are those of the JSON, in the order of their names, without a tree.

    Args:
        home: Where they lie.
        file: The JSON, below the root.
        images: Folder below the root that its paths start from.
        names: What the tree calls a class that the JSON calls by a name of its own, other than in spelling.
        draws: Seed of the ready draws to take from ``split_fewshot/shot_<K>-seed_<S>.pkl``; null takes none, and draws
            are hierfit's own. Of their two parts only ``train`` is taken.
    """
    place = home.holding([file, images])
    home.base, home.names = place / images, names
    content = read_json(place / file, _Splits)
    samples = [Sample(split, path, name) for split in SPLITS for path, _, name in content[split]]
    yield from samples
    if home.card.taxonomy is None:
        classes = sorted({name for split in SPLITS for _, _, name in content[split]})
        home.tree = Taxonomy.from_paths([[name] for name in classes], list(home.card.levels))
    if draws is None:
        return
    train = {sample.key: sample.label for sample in samples if sample.split == "train"}
    for shots, path in _draws(place / "split_fewshot", draws):
        unknown = []
        for picture in _drawn(path):  # a path on the machine the draw comes from, whose end is that of the JSON
            key = picture.replace("\\", "/").rpartition(f"/{images}/")[2]
            if key in train:
                yield Sample(f"train{shots}", key, train[key])
            else:
                unknown.append(picture)
        home.report(f"{path.name}: not in 'train' of {file}:", unknown)


def _draws(folder: Path, seed: int) -> list[tuple[int, Path]]:
    """Shots and file of each ready draw of a seed."""
    found = [(match, path) for path in folder.glob("*.pkl") if (match := _DRAW.fullmatch(path.name))]
    draws = sorted((int(match[1]), path) for match, path in found if int(match[2]) == seed)
    if not draws:
        raise UserError(
            f"{folder} has no draw of seed {seed}",
            hint=f"It should hold files shot_16-seed_{seed}.pkl; or take layout.draws out of the card.",
        )
    return draws


def _drawn(path: Path) -> list[str]:
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
        content = read_json(home.base / name, _Content)
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
