"""Miniature copies of data sets, laid out as their authors hand them out, each with its card cut down to fit.

A card keeps its layout, levels' names and templates; its tree keeps two classes of each of two groups; its counts are
those of the copy.
"""

from __future__ import annotations

import csv
import io
import json
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image
from scipy.io import savemat

CARDS = Path(__file__).parents[3] / "data_cards"
COUNTS = {"train": 3, "val": 2, "test": 2}
"""Pictures of each class in each split."""

SYNSETS = ("n02099601", "n02099712", "n02123045", "n02123159")  # two retrievers, two cats


Layout, Paths, Counts = dict[str, Any], Sequence[tuple[str, ...]], dict[str, int]


def picture(name: str) -> bytes:
    """A small JPEG of its own for each name."""
    noise = np.random.default_rng(list(name.encode())).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


@dataclass
class Miniature:
    """A copy and its card.

    Attributes:
        card: Path of the cut-down card.
        root: The folder of the data set, called as the first of the card's ``folders``, in a folder of several.
        paths: Of the classes in the tree, for sets whose tree is the card's.
    """

    card: str
    root: Path
    paths: list[tuple[str, ...]]


def miniature(name: str, folder: Path, **changes: object) -> Miniature:
    """Build the copy of the data set of a card; keyword arguments change keys of the card, None takes one out."""
    card: dict[str, Any] = yaml.safe_load((CARDS / f"{name}.yaml").read_text(encoding="utf-8"))
    layout = card["layout"] if isinstance(card["layout"], dict) else {"name": card["layout"]}
    root, cards = folder / "root" / card.get("folders", ["."])[0], folder / "cards"
    root.mkdir(parents=True)
    cards.mkdir()
    paths = _subset(cards, card) if "taxonomy" in card else []
    card["names"] = {old: new for old, new in card.get("names", {}).items() if any(old in path for path in paths)}
    splits = BUILDERS[layout["name"]](root, layout, paths, card)
    card["splits"] = {split: {"images": count} for split, count in splits.items()} or card.get("splits")
    card |= changes
    path = cards / f"{name}.yaml"
    path.write_text(yaml.safe_dump({k: v for k, v in card.items() if v is not None}, sort_keys=False), encoding="utf-8")
    return Miniature(str(path), root, paths)


def _subset(cards: Path, card: dict[str, Any]) -> list[tuple[str, ...]]:
    """Writes the tree of the first two classes of each of the first two groups that have as many."""
    name = card["taxonomy"] if isinstance(card["taxonomy"], str) else card["taxonomy"]["file"]
    with (CARDS / name).open(encoding="utf-8", newline="") as file:
        header, *rows = list(csv.reader(file))
    if len(header) == 1:
        chosen = rows[:4]
    else:
        groups: dict[tuple[str, ...], list[list[str]]] = {}
        for row in rows:
            groups.setdefault(tuple(row[:-1]), []).append(row)
        chosen = [row for group in groups.values() if len(group) > 1 for row in group[:2]][:4]
    with (cards / name).open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *chosen])
    card["levels"] = {level: len({tuple(row[: i + 1]) for row in chosen}) for i, level in enumerate(header)}
    return [tuple(row) for row in chosen]


def write(path: Path, content: str | bytes | None = None) -> None:
    """A file, and the folders above it; a picture, unless its content is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    content = picture(path.as_posix().rpartition("/root/")[2]) if content is None else content
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def _times(classes: int, *splits: str) -> dict[str, int]:
    return {split: classes * COUNTS[split] for split in splits}


def _cub(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    images, labels, split, classes = [], [], [], []
    for number, path in enumerate(paths, 1):
        folder = f"{number:03d}.{path[-1]}"
        classes.append(f"{number} {folder}")
        for i in range(COUNTS["train"] + COUNTS["test"]):
            key = f"{folder}/{path[-1]}_{i:04d}.jpg"
            write(root / "images" / key)
            images.append(f"{len(images) + 1} {key}")
            labels.append(f"{len(images)} {number}")
            split.append(f"{len(images)} {int(i < COUNTS['train'])}")
    for name, lines in {
        "images": images,
        "image_class_labels": labels,
        "train_test_split": split,
        "classes": classes,
    }.items():
        write(root / f"{name}.txt", "\n".join(lines) + "\n")
    return _times(len(paths), "train", "test")


def _aircraft(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    number = 34309
    for split, count in COUNTS.items():
        lists: dict[str, list[str]] = {}
        for path in paths:
            for _ in range(count):
                write(root / f"images/{number:07d}.jpg")
                for level, name in zip(("manufacturer", "family", "variant"), path, strict=True):
                    lists.setdefault(level, []).append(f"{number:07d} {name}")
                number += 1
        for level, lines in lists.items():
            write(root / f"images_{level}_{split}.txt", "\n".join(lines) + "\n")
    return _times(len(paths), *COUNTS)


def _pets(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    for split, name in {"train": "trainval", "test": "test"}.items():
        lines = []
        for number, (species, breed) in enumerate(paths, 1):
            for i in range(COUNTS[split]):
                image = f"{breed.replace(' ', '_')}_{i + 10 * (split == 'test')}"
                write(root / f"images/{image}.jpg")
                lines.append(f"{image} {number} {1 + (species == 'Dog')} {number}")
        write(root / f"annotations/{name}.txt", "\n".join(lines) + "\n")
    return _times(len(paths), "train", "test")


def _listed(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    for split, file in layout["files"].items():
        lines = []
        for path in paths:
            folder = path[-1].replace("_", "") if layout.get("camel") else path[-1]
            for i in range(COUNTS[split]):
                stem = f"{path[-1]}_{split}_{i}"
                write(root / layout.get("images", "images") / path[-1] / f"{stem}.jpg")
                ending = {"ucf101": ".avi 1", "food101": ""}.get(card["name"], ".jpg")
                lines.append(f"{folder}/{stem}{ending}")
        write(root / file, "\n".join(lines) + "\n")
    return _times(len(paths), *layout["files"])


def _cars(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    (root / "devkit").mkdir()
    names = np.array([[path[-1] for path in paths]], dtype=object)
    savemat(root / "devkit/cars_meta.mat", {"class_names": names})
    kind = [(field, object) for field in ("bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname")]
    for split, file in {"train": "devkit/cars_train_annos.mat", "test": "cars_test_annos_withlabels.mat"}.items():
        rows = []
        for label in range(1, len(paths) + 1):
            for _ in range(COUNTS[split]):
                name = f"{len(rows) + 1:05d}.jpg"
                write(root / f"cars_{split}" / name)
                rows.append((np.uint8(1), np.uint8(1), np.uint8(8), np.uint8(8), np.uint8(label), name))
        savemat(root / file, {"annotations": np.array([rows], dtype=kind)})
    return _times(len(paths), "train", "test")


def _flowers(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    labels: list[int] = []
    ids: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for label in range(1, len(paths) + 1):
        for split, count in COUNTS.items():
            for _ in range(count):
                labels.append(label)
                ids[split].append(len(labels))
                write(root / f"jpg/image_{len(labels):05d}.jpg")
    savemat(root / "imagelabels.mat", {"labels": np.array([labels], dtype=np.uint8)})
    names = {"trnid": ids["train"], "valid": ids["val"], "tstid": ids["test"]}
    savemat(root / "setid.mat", {name: np.array([values], dtype=np.uint16) for name, values in names.items()})
    return _times(len(paths), *COUNTS)


def _cifar(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    names = sorted(path[-1].replace(" ", "_").encode() for path in paths)
    write(root / "meta", pickle.dumps({b"fine_label_names": names, b"coarse_label_names": []}, protocol=2))
    generator = np.random.default_rng(0)
    for split in ("train", "test"):
        labels = [label for label in range(len(paths)) for _ in range(COUNTS[split])]
        data = generator.integers(0, 256, (len(labels), 3072), dtype=np.uint8)
        batch = {b"batch_label": b"part", b"fine_labels": labels, b"coarse_labels": labels, b"data": data}
        write(root / split, pickle.dumps(batch, protocol=2))
    return _times(len(paths), "train", "test")


def _class_folders(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    on_disk = {name: folder for folder, name in layout.get("names", {}).items()}
    base = root / layout["images"][0]
    for path in paths:
        for i in range(30):  # enough that each class has some in each split
            write(base / on_disk.get(path[-1], path[-1]) / f"image_{i:04d}.jpg")
    for name in layout.get("ignore", ()):
        write(base / name / "image_0000.jpg")
    return {}


def _coop_split(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    called = {name: other for other, name in layout.get("names", {}).items()}
    if not paths:
        paths = [("abbey",), ("outdoor apartment_building",)]
        card["levels"] = {"scene": 2}
    parts = {}
    for split, count in COUNTS.items():
        parts[split] = [
            [f"{path[-1]}/{split}_{i}.jpg".replace("/A", "_A"), label, called.get(path[-1], path[-1].lower())]
            for label, path in enumerate(paths)
            for i in range(count)
        ]
        for key, _, _ in parts[split]:
            write(root / layout.get("images", "images") / key)
    write(root / layout["file"], json.dumps(parts))
    return _times(len(paths), *COUNTS)


def _inaturalist(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    ranks = ("kingdom", "phylum", "class", "order", "family", "genus")
    species = ["Apis mellifera", "Apis cerana", "Bombus terrestris", "Danaus plexippus"]
    orders, families = ["Hymenoptera"] * 3 + ["Lepidoptera"], ["Apidae"] * 3 + ["Nymphalidae"]
    categories = []
    for i, name in enumerate(species):
        values = ("Animalia", "Arthropoda", "Insecta", orders[i], families[i], name.split()[0])
        folder = "_".join([f"{i:05d}", *values, name.split()[1]])
        categories.append(
            {"id": i, "name": name, "common_name": name, "supercategory": "Insects", "image_dir_name": folder}
            | dict(zip(ranks, values, strict=True))
        )
    for split, file in layout["files"].items():
        images, annotations = [], []
        for category in categories:
            for i in range(COUNTS[split]):
                key = f"{file.removesuffix('.json')}/{category['image_dir_name']}/{i}.jpg"
                write(root / key)
                annotations.append({"id": len(images), "image_id": len(images), "category_id": category["id"]})
                images.append({"id": len(images), "file_name": key, "width": 8, "height": 8})
        content = {"info": {}, "images": images, "categories": categories, "annotations": annotations, "licenses": []}
        write(root / file, json.dumps(content))
    card["levels"] = {"order": 2, "family": 2, "species": 4}
    return _times(4, "train", "test")


def _butterfly(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    for split, count in COUNTS.items():
        lines = []
        for species in range(1, 5):
            for i in range(count):
                key = f"{species:03d}/{split}_{i}.jpg"
                write(root / "images" / key)
                lines.append(f"{key} {species} {(species + 1) // 2} {(species + 1) // 2} 1")
        write(root / f"Butterfly200_{split}_release.txt", "\n".join(lines) + "\n")
    write(root / "species.txt", "".join(f"{i} Papilio_{i}\n" for i in range(1, 5)))
    card["levels"] = {"family": 1, "subfamily": 2, "genus": 2, "species": 4}
    return _times(4, *COUNTS)


def _sun(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    folders = ["/a/abbey", "/a/apartment_building/outdoor", "/b/beach"]
    write(root / "ClassName.txt", "\n".join(folders) + "\n")
    for split, file in {"train": "Training_01.txt", "test": "Testing_01.txt"}.items():
        lines = [f"{folder}/sun_{split}{i}.jpg" for folder in folders for i in range(COUNTS[split])]
        for line in lines:
            write(root / f"SUN397{line}")
        write(root / file, "\n".join(lines) + "\n")
    if "hierarchy" in layout:
        header = 'category,indoor,"outdoor, natural","outdoor, man-made",home,"water, ice, snow",buildings'
        rows = ["'/a/abbey',0,0,1,0,0,1", "'/a/apartment_building/outdoor',0,0,1,0,0,1", "'/b/beach',0,1,1,0,1,0"]
        write(root / layout["hierarchy"], "\n".join([",".join(["", "level1"]), header, *rows]) + "\n")
        card["levels"] = {"superordinate": 2, "basic": 2, "scene": 3}
    else:
        card["levels"] = {"scene": 3}
    return _times(3, "train", "test")


def _imagenet(root: Path, layout: Layout, paths: Paths, card: Layout) -> Counts:
    """Four classes of the set's own table: of BREEDS two of each of two superclasses."""
    with (CARDS / layout.get("table", "imagenet.csv")).open(encoding="utf-8", newline="") as file:
        rows = [[cell for cell in row if cell] for row in csv.reader(file)][1:]
    tops = list(dict.fromkeys(row[1] for row in rows))[:2]
    breeds = [row[0] for top in tops for row in [row for row in rows if row[1] == top][:2]]
    chosen = breeds if "table" in layout else SYNSETS
    number = {row[0]: i for i, row in enumerate(rows)}
    for split, options in layout["parts"].items():
        for synset in chosen:
            name = str(number[synset]) if layout.get("classes") == "numbers" else synset
            for i in range(COUNTS[split]):
                write(root / options.split("|")[0] / name / f"{split}_{i}.JPEG")
    if "table" in layout:
        (root.parents[1] / "cards" / layout["table"]).write_bytes((CARDS / layout["table"]).read_bytes())
    card["levels"] = dict(zip(card["levels"], (2, 4), strict=False))
    return _times(4, *layout["parts"])


_ALL = (
    *(_cub, _aircraft, _pets, _listed, _cars, _flowers, _cifar, _class_folders, _coop_split, _inaturalist, _butterfly),
    *(_sun, _imagenet),
)
BUILDERS: dict[str, Callable[[Path, Layout, Paths, Layout], Counts]] = {f.__name__.strip("_"): f for f in _ALL}
"""By layout: makes the copy below a root, of a layout's options, classes and card; gives the pictures of each split."""
