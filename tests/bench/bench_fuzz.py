"""Damaged data sets: cards, manifests, exports, official files, pictures; alone ``python tests/bench/bench_fuzz.py``.

Each case damages one file of a small sound data set: bytes and lines lost, doubled, swapped, hostile paths, YAML bombs
and tags, other encodings, pictures cut off or of odd kinds. It is then read as hierfit reads it. Only two endings are
right: a `UserError`; or the very table, and the very pixels, that a plain reader of its own (below: PyYAML, csv, json,
numpy, and nothing of hierfit's) makes of the same bytes.
"""

from __future__ import annotations

import csv
import io
import json
import posixpath
import random
import shutil
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parents[2]))
import hostile
from fuzzing import SECRETS, Attempt, Attempts, Reader, WrongError, main, of_files, one_of
from hostile_pictures import bad_picture, picture, stored

from hierfit.data.card import load_card
from hierfit.data.images import open_image
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.tools.check.audit import audit
from hierfit.tools.new.found import Options
from hierfit.tools.new.new import new_card
from tests.unit.data.miniature import miniature

LEAVES = [("bird", "gull", "herring gull"), ("bird", "gull", "ivory gull"), ("bird", "owl"), ("fish",)]
PICTURES = {"train": 3, "val": 1, "test": 2}
NodePath = tuple[str, ...]
Labels = dict[str, dict[str, NodePath]]
"""Label path by split and key."""

COUNTS = {split: {"images": 4 * n, "leaves": 4} for split, n in PICTURES.items()}
LAYOUTS: dict[str, tuple[Any, dict[str, Any]]] = {
    "folders": ("image_folder", COUNTS),
    "drawn": ({"name": "image_folder", "folders": {"all": "train"}, "draw": {"val": 0.2, "test": 0.3}}, {}),
    "manifest.csv": ({"name": "manifest", "file": "manifest.csv"}, {"train": {"images": 12, "leaves": 4}}),
    "manifest.jsonl": ({"name": "manifest", "file": "manifest.jsonl"}, {"train": {"leaves": 4}}),
}
"""How a card may say where its pictures are, and what it says of splits."""

TABLES: dict[str, hostile.Damage] = {"manifest.csv": hostile.bad_table, "manifest.jsonl": hostile.bad_json_lines}


def build(place: Path, layout: str) -> Path:
    """Pictures in nested folders, tables of them, and links that lead away: the root. A card of it lies beside."""
    root, rows = place / "root", []
    for split, count in PICTURES.items():
        for leaf in LEAVES:
            for n in range(count):
                key = f"{split}/{'/'.join(leaf)}/{n}.png"
                (root / key).parent.mkdir(parents=True, exist_ok=True)
                (root / key).write_bytes(stored(picture(key)))
                rows.append((key, "/".join(leaf if n else leaf[:1]), split))  # some are labelled coarsely
    for secret in (place.parents[1] / SECRETS / "secret.png", place / "linked.png"):
        secret.write_bytes(stored(picture(0)))
    (root / "out.png").symlink_to(place / "linked.png")  # a user's own link may lead away, a table's path may not
    (root / "loop").symlink_to(root)
    (root / "manifest.csv").write_text("path,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    lines = (json.dumps(dict(zip(("path", "label", "split"), row, strict=True))) for row in rows)
    (root / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    (place / "toy.csv").write_text("top,mid,leaf\n" + "".join(",".join(leaf) + "\n" for leaf in LEAVES))
    where, splits = LAYOUTS[layout]
    card = {"name": "toy", "version": 1, **dict.fromkeys(("title", "citation", "licence", "obtain"), "t")}
    card |= {"taxonomy": "toy.csv", "levels": {"top": 2, "mid": 2, "leaf": 2}, "layout": where}
    card |= ({"splits": splits} if splits else {}) | {"templates": {"leaf": ["a {name}."]}, "names": {"owl": "an owl"}}
    (place / "toy.yaml").write_text(yaml.safe_dump(card, sort_keys=False))
    return root


# ---------------------------------------------------------------------- the plain reader


class NotInOrderError(Exception):
    """The plain reader finds something that ought to have been refused."""


def require(holds: bool, what: str) -> None:
    """Raises `NotInOrderError` unless something holds."""
    if not holds:
        raise NotInOrderError(what)


class OnlyOnce(yaml.SafeLoader):
    """Refuses keys that are given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        require(len(keys) == len(set(map(str, keys))), "a key twice")
        return super().construct_mapping(node, deep)


KEYS = {"name", "version", "title", "citation", "licence", "obtain", "taxonomy", "levels", "layout", "splits",
        "templates", "names", "root", "known_faults", "leave_out", "descriptions", "expects"}  # fmt: skip


def plain_table(card: Path, root: Path) -> Labels:
    """What a card says of a root, by the shortest way; raises `NotInOrderError` for anything out of order."""
    facts: Any = yaml.load(card.read_text(encoding="utf-8"), OnlyOnce)
    require(isinstance(facts, dict) and {"name", "version", "title", "levels", "layout"} <= set(facts) <= KEYS, "keys")
    require(facts["name"] == card.stem and type(facts["version"]) is int, "name or version")
    require(all(type(facts[k]) is str for k in ("title", "citation", "licence", "obtain")), "texts")
    with (card.parent / facts["taxonomy"]).open(newline="", encoding="utf-8") as file:
        levels, *rows = [row for row in csv.reader(file) if row]
    tree = {tuple(row[: i + 1]) for row in rows for i in range(len(row))}
    layout = facts["layout"] if isinstance(facts["layout"], dict) else {"name": facts["layout"]}
    found = {"image_folder": plain_folders, "manifest": plain_manifest}[layout["name"]](root, layout, tree)
    names = facts.get("names") or {}
    require(all(type(v) is str and k in {n for path in tree for n in path} for k, v in names.items()), "names")
    require(list(facts["levels"]) == levels, "levels")
    for depth, size in enumerate(facts["levels"].values()):
        require(right(size, sum(len(path) == depth + 1 for path in tree)), "sizes")
    for split, stated in (facts.get("splits") or {}).items():
        require(isinstance(stated, dict) and set(stated) <= {"images", "leaves"}, "splits")
        if split in found:
            leaves = {path for path in found[split].values() if not any(other[:-1] == path for other in tree)}
            counted = {"images": len(found[split]), "leaves": len(leaves)}
            require(all(right(n, counted[k]) for k, n in stated.items()), f"counts of {split}")
    require({"train", "test"} <= set(found) and all(found.values()), "empty splits")
    return {s: {k: tuple(names.get(n, n) for n in path) for k, path in rows.items()} for s, rows in found.items()}


def right(stated: object, counted: int) -> bool:
    """Whether a number is left out, or is the one that was counted."""
    return stated is None or (type(stated) is int and stated == counted)


def plain_folders(root: Path, layout: dict[str, Any], tree: set[NodePath]) -> Labels:
    """Folders whose nesting is the tree. Drawn splits are hierfit's own business: only their union is read."""
    folders, drawn = layout.get("folders") or {}, layout.get("draw") is not None
    require(set(layout) <= {"name", "labels", "folders", "draw"} and layout.get("labels", "path") == "path", "layout")
    require(set(folders) <= ({"all"} if drawn else set(PICTURES)), "folders")
    found: Labels = {}
    for split in ("all",) if drawn else PICTURES:
        base = posixpath.normpath(folders.get(split, "." if drawn else split))
        require(not base.startswith(("/", "..")), "outside")
        for path in sorted((root / base).rglob("*")):
            if path.suffix == ".png" and not path.is_dir():
                label = path.relative_to(root / base).parts[:-1]
                require(label in tree, f"label {label}")
                found.setdefault(split, {})[path.relative_to(root).as_posix()] = label
    return {"train": found["all"], "test": {"?": ()}} if drawn else found


def plain_manifest(root: Path, layout: dict[str, Any], tree: set[NodePath]) -> Labels:
    """Rows of path, label and split."""
    require(set(layout) <= {"name", "file", "images", "path", "label", "split"}, "layout")
    file = root / layout.get("file", "manifest.csv")
    text = file.read_bytes().decode("utf-8-sig")
    if file.suffix == ".jsonl":
        objects = [json.loads(line) for line in text.split("\n") if line.strip()]
        rows = [{k: "/".join(v) if isinstance(v, list) else str(v or "") for k, v in row.items()} for row in objects]
    else:
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
        header, *cells = [[cell.strip() for cell in row] for row in reader if row]
        require(all(header.count(name) == 1 for name in ("path", "label", "split")), "columns")
        rows = [dict(zip(header, row, strict=True)) for row in cells]
    found: Labels = {}
    for row in rows:
        key = posixpath.normpath(row[layout.get("path", "path")].strip())
        require(not posixpath.isabs(key) and key.split("/")[0] != "..", "outside")
        require((root / layout.get("images", ".") / key).is_file(), "no file")
        split, label = row[layout.get("split", "split")].strip(), row[layout.get("label", "label")].strip()
        named = [tuple(label.split("/"))] if "/" in label else [path for path in tree if path[-1] == label]
        require(split in PICTURES and len(named) == 1 and named[0] in tree, f"split or label {label!r}")
        require(all(key not in other for other in found.values()), "twice")
        found.setdefault(split, {})[key] = named[0]
    return found


def hierfit_table(card: Path, root: Path) -> Labels:
    """The same of hierfit; every picture is opened."""
    loaded = load_card(str(card))
    table = read_table(loaded, root)
    loaded.texts(table.taxonomy)
    tree, found = table.taxonomy, Labels()
    for name, split in table.splits.items():
        labels = [tuple(tree.full_name(v, "\0").split("\0")) for v in split.nodes.tolist()]
        found[name] = dict(zip(split.keys, labels, strict=True))
        for key in split.keys:
            assert table.images is not None
            table.images.load(key)
    return found


def as_plain(card: Path, root: Path) -> Callable[[], None]:
    """Reads a card and its data as the plain reader does: what that one refuses may only be read as it is undamaged."""
    before = hierfit_table(card, root)

    def read() -> None:
        seen = hierfit_table(card, root)
        try:
            plain = plain_table(card, root)
        except RecursionError as error:
            raise WrongError("accepted, but too deep for the plain reader") from error
        except (NotInOrderError, yaml.YAMLError, csv.Error, OSError, ValueError, LookupError, TypeError,
                AttributeError) as error:  # fmt: skip
            if seen != before:
                raise WrongError(f"accepted, but: {error!r}") from error
            return
        if "?" in plain.get("test", {}):  # drawn
            seen = {"train": {key: label for rows in seen.values() for key, label in rows.items()}, "test": {"?": ()}}
        if seen != plain:
            raise WrongError("another table than the plain reader's")

    return read


# ---------------------------------------------------------------------- readers


def cards(folder: Path) -> Attempts:
    """Damages a card."""
    return one_of(*(attempts_on(folder / name, name, of_card=True) for name in LAYOUTS))


def manifests(folder: Path) -> Attempts:
    """Damages the table that a card names."""
    return one_of(*(attempts_on(folder / name, name, of_card=False) for name in TABLES))


def attempts_on(place: Path, layout: str, of_card: bool) -> Attempts:
    """On a card, or on its table; a few go through `hierfit data check`, which raises nothing for what it finds."""
    root, card = build(place, layout), place / "toy.yaml"
    files = {card: hostile.bad_yaml} if of_card else {root / layout: TABLES[layout]}
    plainly = of_files(files, as_plain(card, root))
    checked = of_files(files, lambda: audit(load_card(str(card)), str(root), 1))
    return lambda rng: (plainly if rng.random() < 0.95 else checked)(rng)


def new_card_of(folder: Path, tables: dict[str, tuple[bytes, hostile.Damage]]) -> Attempts:
    """Damages a table that has no card yet; a card is made for it, which its data must fit."""
    card = folder / "made" / "x.yaml"

    def on(table: Path, damage: hostile.Damage) -> Attempts:
        def read() -> None:
            new_card(table, card, Options(), pictures=False, force=True)
            if found := audit(load_card(str(card)), None, 1, pictures=False).problems:
                raise WrongError("; ".join(found))

        return of_files({table: damage}, read)

    ways = []
    for name, (content, damage) in tables.items():  # one at a time: tables beside each other would be one data set
        root = shutil.copytree(folder / "toy" / "root", folder / name / "new", symlinks=True)
        for other in TABLES:
            (root / other).unlink()
        (root / name).write_bytes(content)
        ways.append(on(root / name, damage))
    return one_of(*ways)


def new_cards(folder: Path) -> Attempts:
    """For tables of paths, labels and splits."""
    root = build(folder / "toy", "folders")
    return new_card_of(folder, {name: ((root / name).read_bytes(), damage) for name, damage in TABLES.items()})


def exports(folder: Path) -> Attempts:
    """For the same rows as annotation tools and benchmarks write them."""
    root = build(folder / "toy", "folders")
    rows = [json.loads(line) for line in (root / "manifest.jsonl").read_text().split("\n") if line]
    names = sorted({row["label"] for row in rows})
    coco = {
        "images": [{"id": i, "file_name": row["path"]} for i, row in enumerate(rows)],
        "annotations": [{"image_id": i, "category_id": names.index(row["label"])} for i, row in enumerate(rows)],
        "categories": [{"id": i, "name": name, "supercategory": name[:1]} for i, name in enumerate(names)],
    }
    studio = [
        {
            "data": {"image": f"/data/local-files/?d={row['path']}"},
            "annotations": [{"result": [{"from_name": "c", "value": {"choices": [row["label"]]}}]}],
        }
        for row in rows
    ]
    coop = {split: [[r["path"], 0, r["label"]] for r in rows if r["split"] == split] for split in PICTURES}
    documents: dict[str, Any] = {"coco.json": coco, "studio.json": studio, "coop.json": coop}
    made = {name: (hostile.dumped(document, indent=0), hostile.bad_json) for name, document in documents.items()}
    return new_card_of(folder, made)


OFFICIAL = ("cub200", "fgvc_aircraft", "oxford_pets", "food101", "ucf101", "stanford_cars", "oxford_flowers",
            "dtd_coop", "inat2021", "butterfly200", "sun397", "sun397_tree", "breeds_living17", "cifar100")  # fmt: skip


def official(folder: Path) -> Attempts:
    """Damages the files that describe small copies of public data sets, a few times over; what is read all the same may
    be damaged where nothing is read, such as in a pixel."""
    copies: dict[str, Attempts] = {}

    def damage(raw: bytes, rng: random.Random) -> tuple[str, bytes]:
        for _ in range(rng.randint(1, 4)):
            kind, raw = hostile.damaged(raw, rng)
        return kind, raw

    def attempt(rng: random.Random) -> Attempt:
        name = rng.choice(OFFICIAL)
        if name not in copies:
            copy = miniature(name, folder / name)
            files = sorted(p for p in copy.root.rglob("*") if p.is_file() and p.suffix.lower() not in (".jpg", ".jpeg"))
            chosen = dict.fromkeys(files or [Path(copy.card).with_suffix(".csv")], damage)
            copies[name] = of_files(chosen, lambda: read_table(load_card(copy.card), copy.root))
        kind, read = copies[name](rng)
        return kind if kind == "none" else name, read

    return attempt


def pictures(folder: Path) -> Attempts:
    """Makes an odd, a damaged or a hostile picture; one that is accepted must have the pixels it must have."""

    def read(path: Path, pixels: np.ndarray | None) -> None:
        content = path.read_bytes()
        try:
            seen = np.asarray(open_image(path))
        except UserError as error:
            if pixels is not None:
                raise WrongError(f"refused though sound: {error}") from error
            raise
        if pixels is None:
            if fault := broken_chunk(content):
                raise WrongError(f"accepted, but the check sum of {fault!r} is wrong")
            with Image.open(io.BytesIO(content)) as image:
                image.load()
                plain = image.getexif().get(0x0112, 1) == 1 and image.mode not in ("I;16", "RGBA", "LA", "PA")
                pixels = np.asarray(image.convert("RGB")) if plain and "transparency" not in image.info else seen
        if not np.array_equal(seen, pixels):
            raise WrongError("other pixels than were stored, or than Pillow's own")

    def attempt(rng: random.Random) -> Attempt:
        kind, (name, content, pixels) = bad_picture(rng)
        (folder / name).write_bytes(content)
        if pixels is None and rng.random() < 0.3:
            return kind, lambda: open_image(folder / name, 224)
        return kind, lambda: read(folder / name, pixels)

    return attempt


def broken_chunk(content: bytes) -> bytes:
    """The kind of a chunk of a PNG whose check sum is wrong; other kinds of files have none, or Pillow sees to them."""
    at = 8 if content.startswith(b"\x89PNG\r\n\x1a\n") else len(content)
    while at + 12 <= len(content):
        end = at + 8 + int.from_bytes(content[at : at + 4], "big")
        part, crc = content[at + 4 : end], content[end : end + 4]
        if len(crc) == 4 and part[:4] in (b"IHDR", b"PLTE", b"IDAT") and zlib.crc32(part) != int.from_bytes(crc, "big"):
            return part[:4]
        if part[:4] == b"IEND":
            break
        at = end + 4
    return b""


READERS = [
    Reader("data: card", cards),
    Reader("data: manifest", manifests),
    Reader("data: new card", new_cards),
    Reader("data: new card of an export", exports),
    Reader("data: picture", pictures),
    Reader("data: official sets", official, 0.5),
]

if __name__ == "__main__":
    main(READERS, __doc__)
