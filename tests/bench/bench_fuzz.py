"""Mutated cards, manifests and pictures: ``python tests/bench/bench_fuzz.py [--cases 1000] [--seed 0]``.

Each case damages one file of a small sound data set, by its seed alone: bytes and lines lost, doubled, swapped, hostile
paths, YAML bombs and tags, other encodings, pictures cut off or of odd kinds. It is then read as hierfit reads it. Only
two endings are right: a `UserError`; or the very table, and the very pixels, that a plain reader of its own (below:
PyYAML, csv, json, numpy, and nothing of hierfit's) makes of the same bytes.
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
from PIL import Image, ImageCms

sys.path.insert(0, str(Path(__file__).parent))
import hostile
from fuzzing import MARK, Attempt, Attempts, Reader, WrongError, main
from hostile_pictures import png

from hierfit.data.card import load_card
from hierfit.data.images import open_image
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.tools.check.audit import audit
from hierfit.tools.new.found import Options
from hierfit.tools.new.new import new_card

LEAVES = [("bird", "gull", "herring gull"), ("bird", "gull", "ivory gull"), ("bird", "owl"), ("fish",)]
PICTURES = {"train": 3, "val": 1, "test": 2}
Labels = dict[str, dict[str, tuple[str, ...]]]
"""Label path by split and key."""


# ---------------------------------------------------------------------- the sound data set


def picture(seed: int, side: int = 24) -> Image.Image:
    """Smooth colours."""
    cells = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((side, side), Image.Resampling.BICUBIC)


def build(folder: Path) -> dict[str, str]:
    """Pictures in nested folders, tables of them and a secret beside the root; gives cards by name."""
    root, seed, rows = folder / "root", 0, []
    for split, count in PICTURES.items():
        for leaf in LEAVES:
            for n in range(count):
                key = f"{split}/{'/'.join(leaf)}/{n}.png"
                (root / key).parent.mkdir(parents=True, exist_ok=True)
                picture(seed := seed + 1).save(root / key)
                rows.append((key, "/".join(leaf if n else leaf[:1]), split))  # some are labelled coarsely
    picture(0).save(folder / "secret.png")
    (root / "out.png").symlink_to(folder / "secret.png")
    (root / "loop").symlink_to(root)
    (folder / "manifest.csv").write_text("path,label,split\n" + "".join(f"{','.join(row)}\n" for row in rows))
    lines = (json.dumps(dict(zip(("path", "label", "split"), row, strict=True))) for row in rows)
    (folder / "manifest.jsonl").write_text("\n".join(lines) + "\n")
    head = {"name": "toy", "version": 1, "title": "t", "citation": "c", "licence": "l", "obtain": "o",
            "taxonomy": "toy.csv", "levels": {"top": 2, "mid": 2, "leaf": 2}}  # fmt: skip
    tail = {"templates": {"leaf": ["a {name}."]}, "names": {"owl": "an owl"}}
    counts = {split: {"images": 4 * n, "leaves": 4} for split, n in PICTURES.items()}
    (folder / "toy.csv").write_text("top,mid,leaf\n" + "".join(",".join(leaf) + "\n" for leaf in LEAVES))
    layouts = {
        "folders": ("image_folder", counts),
        "drawn": ({"name": "image_folder", "folders": {"all": "train"}, "draw": {"val": 0.2, "test": 0.3}}, {}),
        "manifest": ({"name": "manifest", "file": "manifest.csv"}, {"train": {"images": 12, "leaves": 4}}),
        "jsonl": ({"name": "manifest", "file": "manifest.jsonl"}, {"train": {"leaves": 4}}),
    }
    return {
        name: yaml.safe_dump(head | {"layout": layout} | ({"splits": s} if s else {}) | tail, sort_keys=False)
        for name, (layout, s) in layouts.items()
    }


# ---------------------------------------------------------------------- mutations of text


def mutated(text: str, rng: random.Random, bad: Callable[[str, random.Random], tuple[str, bytes]]) -> tuple[str, bytes]:
    """Text that is meant to harm, or is damaged; at times in another encoding, or as it was."""
    draw = rng.random()
    if draw < 0.02:
        return "none", text.encode()
    return hostile.recoded(text, rng) if draw < 0.07 else bad(text, rng)


# ---------------------------------------------------------------------- the plain reader


class NotInOrderError(Exception):
    """The plain reader finds something that ought to have been refused."""


def plain_table(card: Path, root: Path) -> Labels:
    """What a card says of a root, by the shortest way; raises `NotInOrderError` for anything out of order."""
    told: Any = yaml.load(card.read_text(encoding="utf-8"), OnlyOnce)
    require(isinstance(told, dict), "no mapping")
    known = {"name", "version", "title", "citation", "licence", "obtain", "taxonomy", "levels", "layout", "splits",
             "templates", "names", "root", "known_faults", "leave_out", "descriptions", "expects"}  # fmt: skip
    require(set(told) <= known and {"name", "version", "title", "levels", "layout"} <= set(told), "keys")
    require(told["name"] == card.stem, "name")
    require(type(told["version"]) is int, "version")
    require(all(type(told[k]) is str for k in ("title", "citation", "licence", "obtain")), "texts")
    tree = plain_tree(card.parent / told["taxonomy"]) if isinstance(told.get("taxonomy"), str) else {}
    require(bool(tree), "no tree")
    layout = told["layout"] if isinstance(told["layout"], dict) else {"name": told["layout"]}
    if layout["name"] == "image_folder":
        require(set(layout) <= {"name", "labels", "folders", "draw"}, "layout keys")
        found = plain_folders(root, layout, tree)
    else:
        require(
            layout["name"] == "manifest" and set(layout) <= {"name", "file", "images", "path", "label", "split"},
            "layout",
        )
        found = plain_manifest(root, layout, tree)
    names = told.get("names") or {}
    require(all(type(v) is str and k in {n for path in tree for n in path} for k, v in names.items()), "names")
    require(
        set(told["levels"]) == set(next(iter(tree.values())))
        and list(told["levels"]) == list(next(iter(tree.values()))),
        "levels",
    )
    sizes = [len({path for path in tree if len(path) == depth + 1}) for depth in range(len(told["levels"]))]
    require(
        all(
            size is None or (type(size) is int and size == n)
            for size, n in zip(told["levels"].values(), sizes, strict=True)
        ),
        "sizes",
    )
    leaves = {path for path in tree if not any(other[:-1] == path for other in tree)}
    for split, stated in (told.get("splits") or {}).items():
        require(isinstance(stated, dict) and set(stated) <= {"images", "leaves"}, "splits")
        if split in found:
            got = {"images": len(found[split]), "leaves": len(set(found[split].values()) & leaves)}
            require(all(n is None or (type(n) is int and n == got[k]) for k, n in stated.items()), f"counts of {split}")
    require({"train", "test"} <= set(found) and all(found.values()), "empty splits")
    return {s: {k: tuple(names.get(n, n) for n in path) for k, path in rows.items()} for s, rows in found.items()}


class OnlyOnce(yaml.SafeLoader):
    """Refuses keys that are given twice."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        require(len(keys) == len(set(map(str, keys))), "a key twice")
        return super().construct_mapping(node, deep)


def require(holds: bool, what: str) -> None:
    """Raises `NotInOrderError` unless something holds."""
    if not holds:
        raise NotInOrderError(what)


def plain_tree(path: Path) -> dict[tuple[str, ...], list[str]]:
    """Every node's path; the values are the level names."""
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = [row for row in csv.reader(file) if row]
    return {tuple(row[: i + 1]): header for row in rows for i in range(len(row))}


def plain_folders(root: Path, layout: dict[str, Any], tree: dict[tuple[str, ...], list[str]]) -> Labels:
    """Folders whose nesting is the tree. Drawn splits are hierfit's own business: only their union is read."""
    folders, drawn = layout.get("folders") or {}, layout.get("draw") is not None
    require(layout.get("labels", "path") == "path", "labels")
    found: Labels = {}
    for split in ("all",) if drawn else ("train", "val", "test"):
        base = posixpath.normpath(folders.get(split, "." if drawn else split))
        require(not base.startswith(("/", "..")), "outside")
        rows = {}
        for path in sorted((root / base).rglob("*")):
            if path.suffix == ".png" and not path.is_dir():
                label = path.relative_to(root / base).parts[:-1]
                require(label in tree, f"label {label}")
                rows[path.relative_to(root).as_posix()] = tuple(label)
        if rows:
            found[split] = rows
    require(set(folders) <= {"all"} if drawn else set(folders) <= set(PICTURES), "folders")
    if drawn:
        part = len(found["all"])
        require(part > 0, "nothing drawn")
        return {"train": found["all"], "test": {"?": ()}}
    return found


def plain_manifest(root: Path, layout: dict[str, Any], tree: dict[tuple[str, ...], list[str]]) -> Labels:
    """Rows of path, label and split."""
    file = root / layout.get("file", "manifest.csv")
    text = file.read_bytes().decode("utf-8-sig")
    if file.suffix == ".jsonl":
        rows = [json.loads(line) for line in text.split("\n") if line.strip()]
        require(all(isinstance(row, dict) for row in rows), "no object")
        rows = [
            {k: "/".join(v) if isinstance(v, list) else "" if v is None else str(v) for k, v in row.items()}
            for row in rows
        ]
    else:
        reader = csv.reader(io.StringIO(text, newline=""), skipinitialspace=True)
        header, *cells = [[cell.strip() for cell in row] for row in reader if row]
        require(all(len(row) == len(header) for row in cells), "widths")
        require(len(set(header) & {"path", "label", "split"}) == 3, "columns")
        require(all(header.count(name) == 1 for name in ("path", "label", "split")), "two columns")
        rows = [dict(zip(header, row, strict=True)) for row in cells]
    base = layout.get("images", ".")
    found: Labels = {}
    for row in rows:
        key = posixpath.normpath(row[layout.get("path", "path")].strip())
        require(not posixpath.isabs(key) and key.split("/")[0] != "..", "outside")
        require((root / base / key).is_file(), "no file")
        split, label = row[layout.get("split", "split")].strip(), row[layout.get("label", "label")].strip()
        require(split in PICTURES, "split")
        named = [path for path in tree if path[-1] == label] if "/" not in label else [tuple(label.split("/"))]
        require(len(named) == 1 and named[0] in tree, f"label {label!r}")
        require(all(key not in other for other in found.values()), "twice")
        found.setdefault(split, {})[key] = named[0]
    return found


def hierfit_table(card: Path, root: Path) -> Labels:
    """The same of hierfit."""
    loaded = load_card(str(card))
    table = read_table(loaded, root)
    loaded.texts(table.taxonomy)
    tree = table.taxonomy
    found: Labels = {}
    for name, split in table.splits.items():
        labels = [tuple(tree.full_name(v, "\0").split("\0")) for v in split.nodes.tolist()]
        found[name] = dict(zip(split.keys, labels, strict=True))
    return found


# ---------------------------------------------------------------------- pictures


def mutated_picture(rng: random.Random) -> tuple[str, str, bytes, np.ndarray | None]:
    """Kind, file name, bytes, and the pixels it must have where they are known beforehand."""
    kind, name, content, pixels = odd_picture(rng)
    draw = rng.random()
    if draw < 0.35 and content:
        return f"{kind}, cut off", name, content[: rng.randrange(len(content))], None
    if draw < 0.6 and content:
        changed = bytearray(content)
        for _ in range(rng.choice([1, 1, 3, 40])):
            changed[rng.randrange(len(changed))] = rng.randrange(256)
        return f"{kind}, bytes changed", name, bytes(changed), None
    return kind, name, content, pixels


def stored(image: Image.Image, suffix: str, **options: Any) -> bytes:
    """A picture's file."""
    buffer = io.BytesIO()
    image.save(buffer, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()), **options)
    return buffer.getvalue()


KINDS = ["plain", "plain", "plain", "wrong suffix", "no picture", "16 bit", "32 bit", "palette", "transparent", "CMYK",
         "Lab", "animated GIF", "EXIF turned", "huge header"]  # fmt: skip


def odd_picture(rng: random.Random) -> tuple[str, str, bytes, np.ndarray | None]:
    """As `mutated_picture`, undamaged."""
    image = picture(rng.randrange(1000), rng.choice([1, 7, 24]))
    suffix, kind = rng.choice(["png", "jpg", "gif", "webp", "bmp", "tif"]), rng.choice(KINDS)
    exact, white = np.asarray(image), np.full((*image.size[::-1], 3), 255, np.uint8)
    match kind:
        case "plain":
            return suffix, f"x.{suffix}", stored(image, suffix), exact if suffix in ("png", "bmp", "tif") else None
        case "wrong suffix":
            return kind, f"x.{suffix}", stored(image, "png"), exact
        case "no picture":
            head = rng.choice([b"", b"\0" * 100, b"hello", b"<svg/>", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"])
            return kind, f"x.{suffix}", head, None
        case "16 bit":
            grey = np.asarray(image.convert("L"))
            deep = Image.fromarray(grey.astype(np.uint16) * 257)
            return kind, "x.png", stored(deep, "png"), np.repeat(grey[..., None], 3, axis=2)
        case "32 bit":
            return kind, "x.tif", stored(Image.fromarray(np.full((4, 4), 1 << 20, np.int32)), "tif"), None
        case "palette" | "animated GIF":
            frames = [frame.quantize(8) for frame in (image, *(picture(n, image.width) for n in range(2)))]
            colours = np.array(frames[0].getpalette(), np.uint8).reshape(-1, 3)[np.asarray(frames[0])]
            if kind == "palette":
                return kind, "x.png", stored(frames[0], "png"), colours
            return kind, "x.gif", stored(frames[0], "gif", save_all=True, append_images=frames[1:]), colours
        case "transparent":
            layer = Image.fromarray(np.dstack([exact, white[..., 0] * 0]), "RGBA")
            return kind, "x.png", stored(layer, "png"), white
        case "CMYK":
            return kind, "x.jpg", stored(image.convert("CMYK"), "jpg"), None
        case "Lab":
            rgb, lab = (ImageCms.createProfile(name) for name in ("sRGB", "LAB"))
            return kind, "x.tif", stored(ImageCms.profileToProfile(image, rgb, lab, outputMode="LAB"), "tif"), None
        case "EXIF turned":
            exif = Image.Exif()
            exif[0x0112] = turn = rng.choice([3, 6, 8])
            return kind, "x.png", stored(image, "png", exif=exif), np.rot90(exact, {3: 2, 6: 3, 8: 1}[turn])
    side = rng.choice([20_000, 60_000, 2**31 - 1])
    return kind, "x.png", png(side, side, 8, 2, zlib.compress(b"\0" * 1000)), None


def read_picture(path: Path, pixels: np.ndarray | None) -> None:
    """Reads a picture, which must have the pixels that it must have."""
    content = path.read_bytes()
    try:
        seen = np.asarray(open_image(path))
    except UserError as error:
        if pixels is not None:
            raise WrongError(f"refused though sound: {error}") from error
        raise
    if pixels is not None:
        if not np.array_equal(seen, pixels):
            raise WrongError("other pixels than were stored")
        return
    if fault := container_fault(content):
        raise WrongError(f"accepted, but {fault}")
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        expected = image.convert(
            "RGBA" if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info else "RGB"
        )
        if (
            image.getexif().get(0x0112, 1) == 1
            and image.mode != "I;16"
            and expected.mode == "RGB"
            and not np.array_equal(seen, np.asarray(expected))
        ):
            raise WrongError("other pixels than Pillow's own")


def container_fault(content: bytes) -> str:
    """What is wrong with the check sums of a PNG; other kinds have none, or Pillow sees to them."""
    if not content.startswith(b"\x89PNG\r\n\x1a\n"):
        return ""
    at = 8
    while at + 12 <= len(content):
        size = int.from_bytes(content[at : at + 4], "big")
        chunk, crc = content[at + 4 : at + 8 + size], content[at + 8 + size : at + 12 + size]
        if (
            len(crc) == 4
            and chunk[:4] in (b"IHDR", b"PLTE", b"IDAT")
            and zlib.crc32(chunk) != int.from_bytes(crc, "big")
        ):
            return f"the check sum of {chunk[:4]!r} is wrong"
        if chunk[:4] == b"IEND":
            break
        at += 12 + size
    return ""


# ---------------------------------------------------------------------- the run


_OUT_OF_ORDER = (OSError, ValueError, KeyError, TypeError, AttributeError)  # of the plain reader, which checks little


def read_as_plain(card: Path, root: Path, before: Labels) -> Labels:
    """Reads a card and its data, as the plain reader does.

    What the plain reader refuses may only be read as it was ``before`` the damage.
    """
    seen = hierfit_table(card, root)
    try:
        plain = plain_table(card, root)
    except RecursionError as error:
        raise WrongError("accepted, but too deep for the plain reader") from error
    except (NotInOrderError, yaml.YAMLError, csv.Error, *_OUT_OF_ORDER) as error:
        if seen != before:
            raise WrongError(f"accepted, but: {error!r}") from error
        return seen
    if "?" in plain.get("test", {}):
        if {key: label for rows in seen.values() for key, label in rows.items()} != plain["train"]:
            raise WrongError("drawn from other pictures")
    elif seen != plain:
        raise WrongError("another table than the plain reader's")
    return seen


def read_new(table: Path, card: Path) -> None:
    """Makes a card for a table, which its data must fit."""
    new_card(table, card, Options(), pictures=False, force=True)
    if found := audit(load_card(str(card)), None, 1, pictures=False).problems:
        raise WrongError("; ".join(found))


TABLES = {"manifest": "manifest.csv", "jsonl": "manifest.jsonl"}
BAD = {"manifest": hostile.bad_table, "jsonl": hostile.bad_json_lines}


def cards_and_manifests(folder: Path, of_cards: bool) -> Attempts:
    """Damages a card, or the table it names."""
    cards, root, card, mark = build(folder), folder / "root", folder / "toy.yaml", folder.parent / MARK
    before = {}

    def restore(name: str) -> None:
        for file in TABLES.values():
            (root / file).write_text((folder / file).read_text())
        card.write_text(cards[name])

    for name in cards:
        restore(name)
        before[name] = hierfit_table(card, root)

    def attempt(rng: random.Random) -> Attempt:
        name = rng.choice(sorted(cards) if of_cards else sorted(TABLES))
        restore(name)
        if of_cards:
            mutation, content = mutated(cards[name], rng, lambda text, _: hostile.bad_yaml(text, mark, rng))
            card.write_bytes(content)
        else:
            mutation, content = mutated((root / TABLES[name]).read_text(), rng, BAD[name])
            (root / TABLES[name]).write_bytes(content)
        audited = rng.random() < 0.05

        def read() -> None:
            seen = read_as_plain(card, root, before[name])
            if mutation == "none" and seen != before[name]:
                raise WrongError("another table than before")
            if audited:
                audit(load_card(str(card)), str(root), 1)  # never raises for what it finds

        return mutation, read

    return attempt


def exports(rows: list[dict[str, Any]]) -> dict[str, str]:
    """The same rows as annotation tools and benchmarks write them."""
    names = sorted({str(row["label"]) for row in rows})
    coco = {
        "images": [{"id": i, "file_name": row["path"]} for i, row in enumerate(rows)],
        "annotations": [{"image_id": i, "category_id": names.index(str(r["label"]))} for i, r in enumerate(rows)],
        "categories": [{"id": i, "name": name, "supercategory": name[:1]} for i, name in enumerate(names)],
    }
    studio = [
        {
            "data": {"image": f"/data/local-files/?d={row['path']}"},
            "annotations": [{"result": [{"from_name": "c", "value": {"choices": [str(row["label"])]}}]}],
        }
        for row in rows
    ]
    coop = {split: [[r["path"], 0, str(r["label"])] for r in rows if r["split"] == split] for split in PICTURES}
    documents = {"coco.json": coco, "studio.json": studio, "coop.json": coop}
    return {name: json.dumps(document, indent=0) for name, document in documents.items()}


def new_from_exports(folder: Path) -> Attempts:
    """Damages a JSON export that names pictures."""
    build(folder)
    shutil.copytree(folder / "root", folder / "new", symlinks=True)
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().split("\n") if line]
    texts = exports(rows)

    def attempt(rng: random.Random) -> Attempt:
        name = rng.choice(sorted(texts))
        kind, content = mutated(texts[name], rng, hostile.bad_json)
        table = folder / "new" / name
        table.write_bytes(content)
        return kind, lambda: read_new(table, folder / "made" / "x.yaml")

    return attempt


def new_cards(folder: Path) -> Attempts:
    """Damages a table that has no card yet."""
    build(folder)
    shutil.copytree(folder / "root", folder / "new", symlinks=True)

    def attempt(rng: random.Random) -> Attempt:
        name = rng.choice(sorted(TABLES))
        mutation, content = mutated((folder / TABLES[name]).read_text(), rng, BAD[name])
        table = folder / "new" / TABLES[name]
        table.write_bytes(content)
        return mutation, lambda: read_new(table, folder / "made" / "x.yaml")

    return attempt


def pictures(folder: Path) -> Attempts:
    """Damages a picture, or makes one of an odd kind."""

    def attempt(rng: random.Random) -> Attempt:
        mutation, name, content, pixels = mutated_picture(rng)
        path = folder / name
        path.write_bytes(content)
        return mutation, lambda: read_picture(path, pixels)

    return attempt


READERS = [
    Reader("data: card", lambda folder: cards_and_manifests(folder, of_cards=True)),
    Reader("data: manifest", lambda folder: cards_and_manifests(folder, of_cards=False)),
    Reader("data: new card", new_cards),
    Reader("data: new card of an export", new_from_exports),
    Reader("data: picture", pictures),
]

if __name__ == "__main__":
    main(READERS, __doc__)
