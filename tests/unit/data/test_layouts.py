"""Image folder and manifest, and the checks every table must pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hierfit.data.card import load_card
from hierfit.data.samples import Table
from hierfit.data.table import read_table
from hierfit.errors import UserError

WriteCard = Callable[..., str]
NO_COUNTS = {"splits": None}


def read(card: str, root: Path | None) -> Table:
    return read_table(load_card(card), root)


def faults(card: str, root: Path | None) -> str:
    with pytest.raises(UserError) as caught:
        read(card, root)
    return str(caught.value)


# ---------------------------------------------------------------------- image folder


def test_image_folder_reads_nested_labels(root: Path, write_card: WriteCard) -> None:
    table = read(write_card(), root)
    assert {name: len(split) for name, split in table.splits.items()} == {"train": 24, "val": 12, "test": 16}
    train = table.splits["train"]
    assert train.keys[0] == "train/cat/lion/0.png"
    for key, node in zip(train.keys, train.nodes.tolist(), strict=True):
        assert f"train/{table.taxonomy.full_name(node)}/" in key
    assert table.images is not None
    assert table.images.load(train.keys[0]).size == (10, 12)


def test_image_folder_reads_names_under_any_nesting(root: Path, write_card: WriteCard) -> None:
    for split in ("train", "val", "test"):
        for leaf in list((root / split).glob("*/*")):
            shutil.move(leaf, root / split / leaf.name)
    table = read(write_card(layout={"name": "image_folder", "labels": "name"}), root)
    assert len(table.splits["train"]) == 24
    assert "train: 'lion'" in faults(write_card(), root)  # a path must start at a root of the tree


def test_pictures_of_an_inner_node_are_coarsely_labelled(root: Path, write_card: WriteCard) -> None:
    shutil.copy(root / "train/cat/lion/0.png", root / "train/cat/some_cat.png")
    table = read(write_card(splits=None), root)
    train = table.splits["train"]
    cat = table.taxonomy.find("cat")
    assert int(train.nodes[train.keys.index("train/cat/some_cat.png")]) == cat
    assert (train.nodes == cat).sum() == 1


def test_other_folder_names(root: Path, write_card: WriteCard) -> None:
    (root / "test").rename(root / "validation")
    layout = {"name": "image_folder", "folders": {"test": "validation"}}
    assert len(read(write_card(layout=layout), root).splits["test"]) == 16


def test_only_pictures_count(root: Path, write_card: WriteCard) -> None:
    (root / "train/cat/lion/notes.txt").touch()
    (root / "train/cat/lion/._0.png").touch()
    assert len(read(write_card(), root).splits["train"]) == 24


def test_missing_root(write_card: WriteCard, tmp_path: Path) -> None:
    assert "card 'animals' needs data.root, the folder its data lies in\nTo get it: ask a zoo" in faults(
        write_card(), None
    )
    assert "data.root does not exist: " in faults(write_card(), tmp_path / "nowhere")
    (tmp_path / "a_file").touch()
    assert "data.root is no folder: " in faults(write_card(), tmp_path / "a_file")
    assert "has none of the folders train, val, test" in faults(write_card(), tmp_path)


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


def test_leaves_without_images_are_named(root: Path, write_card: WriteCard) -> None:
    shutil.rmtree(root / "train/dog/fox")
    text = faults(write_card(splits=None), root)
    assert "train: the taxonomy has 4 leaves, found images of 3" in text
    assert "train: no image of dog/fox" in text
    assert len(read(write_card(splits={"train": {"leaves": 3}}), root).splits["train"]) == 18


def test_a_data_set_without_test_or_train(root: Path, write_card: WriteCard) -> None:
    shutil.rmtree(root / "test")
    assert "there is no split 'test'" in faults(write_card(), root)
    shutil.rmtree(root / "train")
    assert "there is no split 'train'" in faults(write_card(), root)


# ---------------------------------------------------------------------- manifest


def rows_of(root: Path) -> list[tuple[str, str, str]]:
    """Path, label path and split of every picture."""
    keys = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    return [(key, "/".join(key.split("/")[1:3]), key.split("/")[0]) for key in keys]


def write_manifest(root: Path, rows: list[tuple[str, ...]], header: str = "path,label,split") -> None:
    (root / "manifest.csv").write_text("\n".join([header, *(",".join(row) for row in rows)]) + "\n")


def test_manifest_equals_the_folder(root: Path, write_card: WriteCard) -> None:
    folder = read(write_card(), root)
    write_manifest(root, list(rows_of(root)))
    manifest = read(write_card(layout="manifest"), root)
    for name, split in folder.splits.items():
        assert set(split.keys) == set(manifest.splits[name].keys)
        assert dict(zip(split.keys, split.nodes.tolist(), strict=True)) == dict(
            zip(manifest.splits[name].keys, manifest.splits[name].nodes.tolist(), strict=True)
        )


def test_labels_may_be_names_or_coarse(root: Path, write_card: WriteCard) -> None:
    rows = rows_of(root)
    shorter = [(p, "dog" if p == "train/dog/fox/0.png" else label.split("/")[1], s) for p, label, s in rows]
    write_manifest(root, list(shorter))
    table = read(write_card(layout="manifest"), root)
    train = table.splits["train"]
    assert table.taxonomy.names[int(train.nodes[train.keys.index("train/dog/fox/0.png")])] == "dog"
    assert table.taxonomy.names[int(train.nodes[train.keys.index("train/dog/fox/1.png")])] == "fox"


def test_a_column_for_each_level_and_other_punctuation(root: Path, write_card: WriteCard) -> None:
    lines = [f"{s};{label.split('/')[0]};{label.split('/')[1]};{p}" for p, label, s in rows_of(root)]
    lines[0] = lines[0].replace(";lion;", ";;")  # known to the family only
    (root / "list.txt").write_text("set;fam;spec;file\n" + "\n".join(lines))
    columns = {"path": "file", "label": ["fam", "spec"], "split": "set"}
    layout = {"name": "manifest", "file": "list.txt", "delimiter": ";", **columns}
    table = read(write_card(layout=layout), root)
    assert table.taxonomy.names[int(table.splits["test"].nodes[0])] == "cat"
    (root / "list.txt").write_text("\n".join(f"{p}\t{label.replace('/', '>')}\t{s}" for p, label, s in rows_of(root)))
    layout = {
        "name": "manifest",
        "file": "list.txt",
        "delimiter": "\t",
        "separator": ">",
        "columns": ["path", "label", "split"],
    }
    assert len(read(write_card(layout=layout), root).splits["train"]) == 24


def test_headerless_tables_of_class_numbers(root: Path, write_card: WriteCard) -> None:
    """The form of the Grocery Store set: one file a split, numbers that count along a class list."""
    number = {"cat/lion": 0, "cat/tiger": 1, "dog/wolf": 2, "dog/fox": 3}
    for split in ("train", "val", "test"):
        lines = [f"{p.removeprefix(split + '/')}, {number[label]}, 7" for p, label, s in rows_of(root) if s == split]
        (root / f"{split}.txt").write_text("\n".join(lines))
    layout = {
        "name": "manifest",
        "files": {s: f"{s}.txt" for s in ("train", "val", "test")},
        "columns": ["path", "label", "other"],
        "class_names": "animals.csv",
    }
    text = faults(write_card(layout=layout), root)
    assert "train: no such file: cat/fox" not in text
    assert "no such file:" in text  # the paths start below each split's folder, so none is found from the root
    for split in ("train", "val", "test"):
        path = root / f"{split}.txt"
        path.write_text("\n".join(f"{split}/{line}" for line in path.read_text().splitlines()))
    table = read(write_card(layout=layout), root)
    for split in table.splits.values():
        assert all(table.taxonomy.full_name(int(v)) in k for k, v in zip(split.keys, split.nodes, strict=True))
    (root / "val.txt").write_text("val/cat/lion/0.png, 4, 7\nval/cat/lion/1.png, x, 7\n")
    text = faults(write_card(layout=layout, splits=None), root)
    assert "val.txt:1: label '4' is none of the class numbers 0 … 3" in text
    assert "val.txt:2: label 'x' is none of the class numbers 0 … 3" in text


def test_all_faults_of_a_manifest_at_once(root: Path, write_card: WriteCard) -> None:
    rows: list[tuple[str, ...]] = list(rows_of(root))
    rows += [
        ("train/cat/lion/99.png", "cat/lion", "train"),
        ("../secret.png", "cat/lion", "train"),
        ("/etc/passwd", "cat/lion", "train"),
        ("train/cat/lion/0.png", "cat/lino", "train"),
        ("val/cat/lion/0.png", "cat/lion", "test"),
        ("train/cat/lion/1.png", "cat/lion", "tset"),
        ("train/cat/lion/2.png", "", "train"),
        ("train/cat/lion/3.png", "cat/lion"),
        ("", "cat/lion", "train"),
    ]
    write_manifest(root, rows)
    text = faults(write_card(layout="manifest", splits=None), root)
    first = len(rows_of(root)) + 2
    for part in (
        "train: no such file: train/cat/lion/99.png",
        "train: path leaves the folder",
        "../secret.png",
        "/etc/passwd",
        "train: 'cat / lino': there is no 'lino' below 'cat', did you mean 'lion'?",
        "leak: in both val and test: val/cat/lion/0.png",
        "train: listed more than once: train/cat/lion/0.png",
        f"manifest.csv:{first + 5}: unknown split 'tset' – did you mean 'test'?",
        f"manifest.csv:{first + 6}: the label is empty",
        f"manifest.csv:{first + 7}: 2 cells, expected 3",
        f"manifest.csv:{first + 8}: the path is empty",
    ):
        assert part in text


def test_the_leak_guard_sees_through_spelling(root: Path, write_card: WriteCard) -> None:
    rows: list[tuple[str, ...]] = list(rows_of(root))
    write_manifest(root, [*rows, ("train/cat/../cat/lion/./0.png", "cat/lion", "test")])
    text = faults(write_card(layout="manifest", splits=None), root)
    assert "leak: in both train and test: train/cat/lion/0.png" in text


def test_missing_columns_and_files(root: Path, write_card: WriteCard) -> None:
    write_manifest(root, list(rows_of(root)), header="path,lable,split")
    assert "no column 'label' – did you mean 'lable'?" in faults(write_card(layout="manifest"), root)
    (root / "manifest.csv").write_text("")
    assert "no column 'path'" in faults(write_card(layout="manifest"), root)
    (root / "manifest.csv").write_bytes(b"path,label,split\n\xff\xfe\n")
    assert "manifest.csv: cannot be read" in faults(write_card(layout="manifest"), root)
    (root / "manifest.csv").unlink()
    text = faults(write_card(layout="manifest"), root)
    assert "has not the tables of the card" in text
    assert "no file manifest.csv\nTo get the data: ask a zoo" in text


def test_many_faults_of_a_kind_share_a_line(root: Path, write_card: WriteCard) -> None:
    rows: list[tuple[str, ...]] = list(rows_of(root))
    write_manifest(root, rows + [(f"gone/{n}.png", "cat/lion", "train") for n in range(100)])
    text = faults(write_card(layout="manifest", splits=None), root)
    assert "train: no such file: gone/0.png, gone/1.png, gone/2.png, gone/3.png, gone/4.png and 95 more" in text


def test_a_layout_without_a_tree_needs_one(root: Path, write_card: WriteCard) -> None:
    assert "needs the key 'taxonomy'" in faults(write_card(taxonomy=None), root)


# ---------------------------------------------------------------------- fieldguide
