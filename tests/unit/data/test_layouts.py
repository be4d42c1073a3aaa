"""Image folder and manifest, and the checks every table must pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hierfit.data.card import load_card
from hierfit.data.samples import Table
from hierfit.data.table import read_table
from hierfit.errors import UserError

WriteCard = Callable[..., str]
SPLITS = ("train", "val", "test")


def read(card: str, root: Path | None) -> Table:
    return read_table(load_card(card), root)


def faults(card: str, root: Path | None) -> str:
    with pytest.raises(UserError) as caught:
        read(card, root)
    return str(caught.value)


def labels(table: Table) -> dict[str, dict[str, str]]:
    """Full name of the node of each key, by split."""
    full = table.taxonomy.full_name
    return {
        name: {key: full(node) for key, node in zip(split.keys, split.nodes.tolist(), strict=True)}
        for name, split in table.splits.items()
    }


# ---------------------------------------------------------------------- image folder


def test_image_folder_reads_nested_labels(root: Path, write_card: WriteCard) -> None:
    shutil.copy(root / "train/cat/lion/0.png", root / "train/cat/some_cat.png")  # of an inner node
    (root / "train/cat/lion/notes.txt").touch()
    (root / "train/cat/lion/._0.png").touch()
    table = read(write_card(splits=None), root)
    found = labels(table)
    assert {name: len(rows) for name, rows in found.items()} == {"train": 25, "val": 12, "test": 16}
    for split, rows in found.items():
        assert all(key.startswith(f"{split}/{label}/") for key, label in rows.items())
    assert found["train"]["train/cat/some_cat.png"] == "cat"
    assert table.splits["train"].keys[:2] == ("train/cat/some_cat.png", "train/cat/lion/0.png")
    assert table.images is not None
    assert table.images.load("train/cat/lion/0.png").size == (10, 12)


def test_names_of_folders_and_of_splits(root: Path, write_card: WriteCard) -> None:
    (root / "test").rename(root / "validation")
    layout: dict[str, Any] = {"name": "image_folder", "folders": {"test": "validation"}}
    assert len(read(write_card(layout=layout), root).splits["test"]) == 16
    for split in ("train", "val", "validation"):
        for leaf in list((root / split).glob("*/*")):
            shutil.move(leaf, root / split / leaf.name)
    assert "train: 'lion'" in faults(write_card(layout=layout), root)  # a path must start at a root of the tree
    assert len(read(write_card(layout=layout | {"labels": "name"}), root).splits["train"]) == 24


def test_missing_root(write_card: WriteCard, tmp_path: Path) -> None:
    (tmp_path / "a_file").touch()
    for root, message in (
        (None, "card 'animals' needs data.root, the folder its data lies in\nTo get the data: ask a zoo"),
        (tmp_path / "nowhere", "data.root does not exist: "),
        (tmp_path / "a_file", "data.root is no folder: "),
        (tmp_path, "has none of the folders train, val, test"),
    ):
        assert message in faults(write_card(), root)
    assert "needs the key 'taxonomy'" in faults(write_card(taxonomy=None), tmp_path)


def test_all_faults_of_a_folder_at_once(root: Path, write_card: WriteCard) -> None:
    shutil.rmtree(root / "train/dog/fox")
    shutil.copytree(root / "train/cat/lion", root / "train/cat/lyon")
    (root / "test/stray.png").touch()
    shutil.rmtree(root / "val")
    (root / "val").mkdir()
    text = faults(write_card(), root)
    assert "there is no 'lyon' below 'cat', did you mean 'lion'? (6 times)" in text
    assert "test: lies in no label's folder: test/stray.png" in text
    assert "val: no images" in text


def test_leaves_and_splits_without_images(root: Path, write_card: WriteCard) -> None:
    shutil.rmtree(root / "train/dog/fox")
    text = faults(write_card(splits=None), root)
    assert "train: the taxonomy has 4 leaves, found images of 3" in text
    assert "train: no image of dog/fox" in text
    assert len(read(write_card(splits={"train": {"leaves": 3}}), root).splits["train"]) == 18
    shutil.rmtree(root / "test")
    assert "there is no split 'test'" in faults(write_card(), root)
    shutil.rmtree(root / "train")
    assert "there is no split 'train'" in faults(write_card(), root)


# ---------------------------------------------------------------------- manifest


def rows_of(root: Path) -> list[tuple[str, ...]]:
    """Path, label path and split of every picture."""
    keys = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    return [(key, "/".join(key.split("/")[1:3]), key.split("/")[0]) for key in keys]


def write_manifest(root: Path, rows: list[tuple[str, ...]], header: str = "path,label,split") -> None:
    (root / "manifest.csv").write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")


def test_manifest_equals_the_folder(root: Path, write_card: WriteCard) -> None:
    folder = labels(read(write_card(), root))
    write_manifest(root, rows_of(root))
    assert labels(read(write_card(layout="manifest"), root)) == folder
    # A name will do where it is one node's, and an inner node's is a coarse label.
    short = [(p, "dog" if p == "train/dog/fox/0.png" else label.split("/")[1], s) for p, label, s in rows_of(root)]
    write_manifest(root, short)
    folder["train"]["train/dog/fox/0.png"] = "dog"
    assert labels(read(write_card(layout="manifest"), root)) == folder


def test_a_column_for_each_level_and_other_punctuation(root: Path, write_card: WriteCard) -> None:
    lines = [f"{s};{label.split('/')[0]};{label.split('/')[1]};{p}" for p, label, s in rows_of(root)]
    lines[0] = lines[0].replace(";lion;", ";;")  # known to the family only
    (root / "list.txt").write_text("set;fam;spec;file\n" + "\n".join(lines))
    columns = {"path": "file", "label": ["fam", "spec"], "split": "set"}
    table = read(write_card(layout={"name": "manifest", "file": "list.txt", "delimiter": ";", **columns}), root)
    assert table.taxonomy.names[int(table.splits["test"].nodes[0])] == "cat"
    (root / "list.txt").write_text("\n".join(f"{p}\t{label.replace('/', '>')}\t{s}" for p, label, s in rows_of(root)))
    marks = {"delimiter": "\t", "separator": ">", "columns": ["path", "label", "split"]}
    assert len(read(write_card(layout={"name": "manifest", "file": "list.txt", **marks}), root).splits["train"]) == 24


def test_headerless_tables_of_class_numbers(root: Path, write_card: WriteCard) -> None:
    """The form of the Grocery Store set: one file a split, numbers that count along a class list."""
    number = {"cat/lion": 0, "cat/tiger": 1, "dog/wolf": 2, "dog/fox": 3}
    for split in SPLITS:
        lines = [f"{p}, {number[label]}, 7" for p, label, s in rows_of(root) if s == split]
        (root / f"{split}.txt").write_text("\n".join(lines))
    layout = {
        "name": "manifest",
        "files": {s: f"{s}.txt" for s in SPLITS},
        "columns": ["path", "label", "other"],
        "class_names": "animals.csv",
    }
    found = labels(read(write_card(layout=layout), root))
    assert all(label in key for rows in found.values() for key, label in rows.items())
    (root / "val.txt").write_text("val/cat/lion/0.png, 4, 7\nval/cat/lion/1.png, x, 7\n")
    text = faults(write_card(layout=layout, splits=None), root)
    assert "val.txt:1: label '4' is none of the class numbers 0 … 3" in text
    assert "val.txt:2: label 'x' is none of the class numbers 0 … 3" in text


def test_all_faults_of_a_manifest_at_once(root: Path, write_card: WriteCard) -> None:
    rows = rows_of(root)
    faulty: list[tuple[str, ...]] = [
        ("train/cat/lion/99.png", "cat/lion", "train"),
        ("../secret.png", "cat/lion", "train"),
        ("/etc/passwd", "cat/lion", "train"),
        ("train/cat/lion/0.png", "cat/lino", "train"),
        ("val/cat/lion/0.png", "cat/lion", "test"),
        ("train/cat/../cat/lion/./1.png", "cat/lion", "test"),  # the leak guard sees through spelling
        ("train/cat/lion/1.png", "cat/lion", "tset"),
        ("train/cat/lion/2.png", "", "train"),
        ("train/cat/lion/3.png", "cat/lion"),
        ("", "cat/lion", "train"),
    ]
    write_manifest(root, rows + faulty)
    text, first = faults(write_card(layout="manifest", splits=None), root), len(rows) + 2
    for part in (
        "train: no such file: train/cat/lion/99.png",
        "train: path leaves the folder",
        "../secret.png",
        "/etc/passwd",
        "train: 'cat / lino': there is no 'lino' below 'cat', did you mean 'lion'?",
        "leak: in both val and test: val/cat/lion/0.png",
        "leak: in both train and test: train/cat/lion/1.png",
        "train: listed more than once: train/cat/lion/0.png",
        f"manifest.csv:{first + 6}: unknown split 'tset' – did you mean 'test'?",
        f"manifest.csv:{first + 7}: the label is empty",
        f"manifest.csv:{first + 8}: 2 cells, expected 3",
        f"manifest.csv:{first + 9}: the path is empty",
    ):
        assert part in text
    write_manifest(root, rows + [(f"gone/{n}.png", "cat/lion", "train") for n in range(100)])
    text = faults(write_card(layout="manifest", splits=None), root)
    assert "train: no such file: gone/0.png, gone/1.png, gone/2.png, gone/3.png, gone/4.png and 95 more" in text


def test_missing_columns_and_files(root: Path, write_card: WriteCard) -> None:
    for content, message in (
        (b"path,lable,split\na,b,train\n", "no column 'label' – did you mean 'lable'?"),
        (b"", "no column 'path'"),
        (b"path,label,split\n\xff\xfe\n", "manifest.csv: cannot be read"),
    ):
        (root / "manifest.csv").write_bytes(content)
        assert message in faults(write_card(layout="manifest"), root)
    (root / "manifest.csv").unlink()
    text = faults(write_card(layout="manifest"), root)
    assert "has not the tables of the card" in text
    assert "no file manifest.csv\nTo get the data: ask a zoo" in text
