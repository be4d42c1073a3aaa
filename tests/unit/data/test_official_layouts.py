"""Every named data set, read from a miniature copy of what its authors hand out."""

from __future__ import annotations

import json
import os
import pickle
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import yaml
from scipy.io import savemat

from hierfit.config.schema import Place
from hierfit.data.card import Expected, load_card
from hierfit.data.choice import Choice
from hierfit.data.images import Files
from hierfit.data.layouts import read_layout
from hierfit.data.names import words
from hierfit.data.samples import Table
from hierfit.data.splits import training_split
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.tools.check.audit import audit
from tests.unit.data.miniature import BUILDERS, CARDS, COUNTS, Miniature, miniature, write

OFFICIAL = sorted(
    path.stem
    for path in CARDS.glob("*.yaml")
    if (layout := yaml.safe_load(path.read_text(encoding="utf-8"))["layout"])
    and (layout if isinstance(layout, str) else layout["name"]) in BUILDERS
)


ONE_OF_EACH = (
    *("cub200", "fgvc_aircraft", "oxford_pets", "food101", "stanford_cars", "oxford_flowers", "dtd_coop", "inat2021"),
    *("butterfly200", "sun397", "imagenet_a", "breeds_living17_target"),
)


def read(copy: Miniature) -> Table:
    return read_table(load_card(copy.card), copy.root)


def faults(copy: Miniature) -> str:
    with pytest.raises(UserError) as caught:
        read(copy)
    return str(caught.value)


@pytest.mark.parametrize("name", OFFICIAL)
def test_each_copy_is_read(name: str, tmp_path: Path) -> None:
    copy = miniature(name, tmp_path)
    table = read(copy)
    card = load_card(copy.card)
    assert audit(card, str(copy.root)).problems == []  # what `hierfit data check` says
    assert set(table.splits) >= {"test"}
    for split, counts in card.splits.items():
        assert len(table.splits[split]) == counts.images
    assert table.images is not None
    for split in table.splits.values():
        assert (table.taxonomy.leaf_index[split.nodes] >= 0).all()
        assert table.images.load(split.keys[0]).mode == "RGB"
        assert table.images.stamp(split.keys[0])
    if copy.paths:
        assert sorted(copy.paths) == sorted(
            tuple(table.taxonomy.full_name(leaf, "\n").split("\n")) for leaf in table.taxonomy.leaves.tolist()
        )


@pytest.mark.parametrize(
    "name", ["cub200", "oxford_pets_coop", "food101", "ucf101", "dtd", "caltech101", "sun397_coop"]
)
def test_a_picture_has_the_label_its_path_tells(name: str, tmp_path: Path) -> None:
    table = read(miniature(name, tmp_path))
    for split in table.splits.values():
        for key, node in zip(split.keys, split.nodes.tolist(), strict=True):
            assert set(words(table.taxonomy.names[node]).split()) <= set(words(key).split())


def test_labels_of_tables_are_joined_right(tmp_path: Path) -> None:
    """Where the path tells nothing, the order of the copy does."""
    for name in ("stanford_cars", "oxford_flowers", "fgvc_aircraft"):
        copy = miniature(name, tmp_path / name)
        table = read(copy)
        test = table.splits["test"]
        wanted = [path[-1] for path in copy.paths for _ in range(COUNTS["test"])]
        assert [table.taxonomy.names[v] for v in test.nodes.tolist()] == wanted


COOP = {
    **{name: "imagenet" for name in ("imagenet", "breeds_living17", "breeds_entity30_target")},
    **{"imagenet_v2": "imagenetv2", "imagenet_sketch": "imagenet-sketch", "imagenet_a": "imagenet-adversarial"},
    **{"imagenet_r": "imagenet-rendition", "caltech101_coop": "caltech-101", "caltech101": "caltech-101"},
    **{"oxford_pets_coop": "oxford_pets", "oxford_pets": "oxford_pets", "stanford_cars_coop": "stanford_cars"},
    **{"stanford_cars": "stanford_cars", "oxford_flowers_coop": "oxford_flowers", "oxford_flowers": "oxford_flowers"},
    **{"food101_coop": "food-101", "food101": "food-101", "fgvc_aircraft": "fgvc_aircraft", "sun397_coop": "sun397"},
    **{"sun397": "sun397", "dtd_coop": "dtd", "dtd": "dtd", "eurosat_coop": "eurosat", "eurosat": "eurosat"},
    **{"ucf101_coop": "ucf101", "ucf101": "ucf101", "cub200": "CUB_200_2011", "cifar100": "cifar-100-python"},
}
"""The folder of each set below a folder of all, as CoOp's DATASETS.md has them (of the last two, as downloaded)."""


@pytest.mark.parametrize("name", COOP)
def test_the_root_may_be_the_folder_of_all_sets(name: str, tmp_path: Path) -> None:
    copy = miniature(name, tmp_path)
    assert copy.root.name == COOP[name]
    (copy.root.parent / "another_set" / "images").mkdir(parents=True)
    table = read_table(load_card(copy.card), copy.root.parent)
    inside = read(copy)
    assert {n: split.keys for n, split in table.splits.items()} == {n: s.keys for n, s in inside.splits.items()}
    assert isinstance(table.images, type(inside.images))
    assert table.images.load(table.splits["test"].keys[0]).size


# ---------------------------------------------------------------------- what is missing


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_empty_root_says_what_is_expected_and_where_to_get_it(name: str, tmp_path: Path) -> None:
    card = load_card(name)
    with pytest.raises(UserError) as caught:
        read_table(card, tmp_path)
    text = str(caught.value)
    assert "there is no " in text
    assert card.expects.strip() in text
    assert card.obtain in text
    with pytest.raises(UserError, match=r"needs data\.root"):
        read_table(card, None)


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_pictures_that_are_gone_are_missed(name: str, tmp_path: Path) -> None:
    copy = miniature(name, tmp_path)
    table = read(copy)
    assert isinstance(table.images, Files)
    (table.images.root / table.splits["test"].keys[0]).unlink()
    text = faults(copy)
    assert "test: no such file: " in text or "test: the card says" in text


def test_counts_other_than_the_cards(tmp_path: Path) -> None:
    text = faults(miniature("cub200", tmp_path, splits={"train": {"images": 5994}, "test": {"images": 5794}}))
    assert "train: the card says 5994 images, found 12" in text
    assert "test: the card says 5794 images, found 8" in text
    text = faults(miniature("cifar100", tmp_path / "cifar", levels={"superclass": 20, "class": 100}))
    assert "the card says levels superclass 20, class 100, the taxonomy has superclass 2, class 4" in text


# ---------------------------------------------------------------------- malformed files, set by set


def edit(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


FAULTS: dict[str, tuple[list[tuple[str, str, str]], list[str]]] = {
    "cub200": (
        [
            ("images.txt", "1 001.", "1 ../../001."),
            ("image_class_labels.txt", "\n2 1\n", "\n2 999\n"),
            ("image_class_labels.txt", "\n3 1\n", "\n3\n"),
            ("train_test_split.txt", "\n4 0\n", "\n4 2\n"),
            ("train_test_split.txt", "\n5 0\n", "\n6 0\n"),
            ("classes.txt", "4 004.", "4 004.Dodo_"),
        ],
        [
            "image_class_labels.txt:3: 1 fields, expected 2",
            *(f"image_class_labels.txt: no class of classes.txt for picture {number}" for number in (2, 3)),
            *(f"train_test_split.txt: neither 0 nor 1 for picture {number}" for number in (4, 5)),
            "train_test_split.txt:6: '6' is given twice",
            "train: path leaves the folder ",
            "'Dodo_",
        ],
    ),
    "fgvc_aircraft": (
        [
            ("images_family_train.txt", "034309 ", "034309 Concorde "),
            ("images_variant_val.txt", "003", "999"),
            ("images_manufacturer_test.txt", "", "one\n"),
        ],
        ["Concorde", "val: not once in each list: 99", "images_manufacturer_test.txt:1: 1 fields, expected 2"],
    ),
    "oxford_pets": (
        [("annotations/test.txt", "", "Nameless 1 1 1\n"), ("annotations/trainval.txt", " 1 1 1\n", " 1 1\n")],
        ["test.txt:1: the name of picture 'Nameless' does not begin", "trainval.txt:1: 3 fields, expected 4"],
    ),
    "food101": (
        [("meta/train.txt", "", "stray\n../../../etc/passwd\nsoup_du_jour/1\n")],
        [
            "meta/train.txt: lies in no class's folder: line 1",
            "train: path leaves the folder",
            "'soup_du_jour'",
            "train: no such file: soup_du_jour/1.jpg",
        ],
    ),
    "butterfly200": (
        [
            ("Butterfly200_val_release.txt", " 1 1 1 1\n", " 1 2 2 1\n"),
            ("Butterfly200_test_release.txt", " 1 1 1 1\n", " 1 1 1\n"),
        ],
        [
            "Butterfly200_val_release.txt:1: species 1 is of genus 1 elsewhere, here genus 2",
            "Butterfly200_test_release.txt:1: 4 fields, expected 5",
        ],
    ),
    "sun397_tree": (
        [("Training_01.txt", "/b/beach", "/b/beech"), ("three_levels.csv", "0,0,1,0,0,1", "0,0,0,0,0,1")],
        [
            "Training_01.txt: not in ClassName.txt: '/b/beech' (line 7)",
            "is in no superordinate or in no basic group",
            "three_levels.csv: no groups of /a/abbey",
        ],
    ),
}
"""What is changed in the files of a copy (file, old text, new text), and what is said."""


@pytest.mark.parametrize("name", FAULTS)
def test_all_faults_of_lists_come_at_once(name: str, tmp_path: Path) -> None:
    copy, (edits, messages) = miniature(name, tmp_path), FAULTS[name]
    for file, old, new in edits:
        edit(copy.root / file, old, new)
    text = faults(copy)
    assert [message for message in messages if message not in text] == []
    (copy.root / edits[0][0]).write_bytes(b"\xff\xfe")
    assert f"{edits[0][0].split('/')[-1]}: cannot be read" in faults(copy)


CUB = (Path(__file__).parent / "cub_classes.txt").read_text(encoding="utf-8").split()
"""The classes of CUB-200-2011 in the order of their numbers, spelled as in its own classes.txt."""


@pytest.mark.parametrize("name", ["cub200", "cub200_published"])
def test_all_birds_load_as_they_are_spelled_in_the_download(name: str, tmp_path: Path) -> None:
    folders = [f"{number:03d}.{bird}" for number, bird in enumerate(CUB, 1)]
    keys = [f"{folder}/{folder[4:]}_{i}.jpg" for folder in folders for i in range(2)]
    for key in keys:
        write(tmp_path / "CUB_200_2011/images" / key, b"")
    for file, values in {
        "classes": folders,
        "images": keys,
        "image_class_labels": [i // 2 + 1 for i in range(len(keys))],
        "train_test_split": [i % 2 for i in range(len(keys))],
    }.items():
        lines = [f"{number} {value}\n" for number, value in enumerate(values, 1)]
        write(tmp_path / "CUB_200_2011" / f"{file}.txt", "".join(lines))
    card = replace(load_card(name), splits={})
    table = read_table(card, tmp_path)
    for split in table.splits.values():
        assert sorted(card.tree.names[node] for node in split.nodes.tolist()) == sorted(CUB)
        for key, node in zip(split.keys, split.nodes.tolist(), strict=True):
            assert card.tree.names[node] == key.split("/")[0][4:]
    assert {"Arctic_Tern", "Green_Violet_ear"} <= set(table.taxonomy.names)  # as they are called in prompts


def test_a_tree_of_the_official_folders_loads_too(tmp_path: Path) -> None:
    for number, bird in enumerate(CUB, 1):
        for split in ("train", "test"):
            write(tmp_path / split / f"{number:03d}.{bird}" / "x.jpg", b"")
    card = load_card("cub200")
    layout = read_layout({"name": "image_folder", "labels": "name"}, Place(card.path), [])
    table = read_table(replace(card, splits={}, layout=layout), tmp_path)
    assert len(table.splits["train"]) == len(set(table.splits["train"].nodes.tolist())) == 200


def test_cars(tmp_path: Path) -> None:
    copy = miniature("stanford_cars", tmp_path)
    train = copy.root / "devkit/cars_train_annos.mat"
    kind = [("class", object), ("fname", object)]
    rows = [(np.uint8(9), "00001.jpg"), (np.uint8(1), "../../secret.jpg")]
    savemat(train, {"annotations": np.array([rows], dtype=kind)})
    text = faults(copy)
    assert "devkit/cars_train_annos.mat: 00001.jpg is of class 9, of 1 … 4 in devkit/cars_meta.mat" in text
    savemat(train, {"annotations": np.array([[(1,)]], dtype=[("class", object)])})
    assert "0.fname: Field required" in faults(copy)
    train.write_bytes(b"garbage")
    assert "cars_train_annos.mat: damaged, or no MATLAB file" in faults(copy)
    (copy.root / "cars_test_annos_withlabels.mat").rename(copy.root / "devkit/cars_test_annos_withlabels.mat")
    (copy.root / "devkit/cars_meta.mat").unlink()
    assert "there is no devkit/cars_meta.mat" in faults(copy)


def test_flowers(tmp_path: Path) -> None:
    copy = miniature("oxford_flowers", tmp_path)
    savemat(copy.root / "imagelabels.mat", {"labels": np.array([[1, 2, 3, 4, 5, 0]])})
    savemat(copy.root / "setid.mat", {"trnid": [1, 99], "valid": [2, 5], "tstid": [3, 0]})
    text = faults(copy)
    assert "imagelabels.mat: not of 1 … 4: class 0" in text
    assert "imagelabels.mat: not of 1 … 4: class 5" in text
    assert "setid.mat: trnid: not of 6 labelled pictures: 99" in text
    assert "setid.mat: tstid: not of 6 labelled pictures: 0" in text


class Hostile:
    def __reduce__(self) -> tuple[object, ...]:
        return eval, ("open('pwned', 'w')",)


def test_cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    copy = miniature("cifar100", tmp_path / "copy")
    train = copy.root / "train"
    data = np.zeros((2, 3072), np.uint8)
    for content, part in (
        (
            {b"fine_labels": [0, 4], b"data": data},
            "'fine_labels' is not of this form\n  - 1: Input should be less than 4",
        ),
        ({b"fine_labels": [0, True], b"data": data}, "1: Input should be a valid integer"),
        ({b"fine_labels": [0], b"data": data}, "'data' is no array of 1 x 3072 bytes"),
        ({b"fine_labels": [0, 1], b"data": data.astype(np.int16)}, "'data' is no array"),
        ([1, 2], "train is not of this form"),
        (Hostile(), "it asks for"),
    ):
        train.write_bytes(pickle.dumps(content, 2))
        assert part in faults(copy)
    assert not list(tmp_path.glob("pwned"))
    train.write_bytes(train.read_bytes()[:9])
    assert "train: " in faults(copy)


def test_cifar_pictures_are_the_bytes_of_the_file(tmp_path: Path) -> None:
    copy = miniature("cifar100", tmp_path)
    table = read(copy)
    raw = pickle.loads((copy.root / "test").read_bytes())
    assert table.images is not None
    picture = np.asarray(table.images.load("test/5"))
    np.testing.assert_array_equal(picture, raw[b"data"][5].reshape(3, 32, 32).transpose(1, 2, 0))
    assert table.images.stamp("test/5") != table.images.stamp("test/4")
    again = pickle.loads(pickle.dumps(table.images))  # as a spawned worker gets it
    assert again.stamp("test/5") == table.images.stamp("test/5")


def test_splits_without_an_official_one_are_drawn_by_the_path(tmp_path: Path) -> None:
    copy = miniature("caltech101", tmp_path)
    before = read(copy)
    sizes = {name: len(split) for name, split in before.splits.items()}
    assert sum(sizes.values()) == 120
    assert sizes["train"] > sizes["test"] > sizes["val"] > 0
    (next((copy.root / "101_ObjectCategories").glob("*")) / "image_0003.jpg").unlink()
    after = read(copy)
    for name in sizes:
        assert set(after.splits[name].keys) <= set(before.splits[name].keys)
    uneven = miniature("eurosat", tmp_path / "b", layout={"name": "class_folders", "shares": {"train": 0.4}})
    assert "shares must sum to 1" in faults(uneven)


def test_butterflies(tmp_path: Path) -> None:
    tree = read(miniature("butterfly200", tmp_path)).taxonomy
    assert tree.full_name(int(tree.leaves[0])) == "family 1/subfamily 1/genus 1/Papilio_1"


def test_inaturalist(tmp_path: Path) -> None:
    copy = miniature("inat2021", tmp_path)
    assert read(copy).taxonomy.levels == ("order", "family", "species")
    path = copy.root / "train.json"
    content = json.loads(path.read_text())
    content["annotations"][0]["category_id"] = 77
    content["images"][1]["file_name"] = "../elsewhere.jpg"
    content["categories"][2]["family"] = "Formicidae"
    path.write_text(json.dumps(content))
    text = faults(copy)
    assert "train.json: no category of image 0" in text
    assert "train: path leaves the folder" in text
    assert "val.json: not as in the other files: category 2" in text
    del content["categories"][0]["genus"]
    del content["annotations"]
    path.write_text(json.dumps(content))
    text = faults(copy)
    assert "annotations: Field required" in text
    assert "categories.0.genus: Field required" in text
    path.write_text("[" * 100_000)
    assert "not valid JSON" in faults(copy)


def test_inaturalist_takes_any_ranks(tmp_path: Path) -> None:
    copy = miniature("inat2021_mini", tmp_path, levels={"class": 1, "genus": None, "species": None}, templates=None)
    assert read(copy).taxonomy.level_sizes == (1, 3, 4)
    copy = miniature("inat2021_mini", tmp_path / "b", levels={"familly": 1, "species": 4}, templates=None)
    assert "levels that are no ranks of iNaturalist" in faults(copy)
    assert "'familly' – did you mean 'family'?" in faults(copy)


def test_sun(tmp_path: Path) -> None:
    copy = miniature("sun397_tree", tmp_path)
    tree = read(copy).taxonomy
    assert {tree.full_name(leaf) for leaf in tree.leaves.tolist()} == {
        "outdoor, natural/water, ice, snow/beach",
        "outdoor, man-made/buildings/abbey",
        "outdoor, man-made/buildings/outdoor apartment building",
    }
    (copy.root / "three_levels.csv").write_text("a,b\n")
    assert "no header line with a column 'category'" in faults(copy)


def test_imagenets_tree_is_wordnets(tmp_path: Path) -> None:
    tree = read(miniature("imagenet", tmp_path)).taxonomy
    assert [tree.full_name(leaf) for leaf in tree.leaves.tolist()] == [
        "retriever/Golden Retriever",
        "retriever/Labrador Retriever",
        "domestic cat/tabby cat",
        "domestic cat/tiger cat",
    ]
    card = load_card("imagenet_sketch")
    for synset in read_synsets(CARDS / "imagenet.csv"):
        write(tmp_path / "whole" / "images" / synset / "x.JPEG", b"")
    table = read_table(replace(card, splits={"test": Expected(1000, 1000)}), tmp_path / "whole")
    assert table.taxonomy.level_sizes == (2, 5, 8, 21, 36, 85, 168, 231, 243, 217, 126, 88, 44, 64, 34, 2)


def read_synsets(path: Path) -> list[str]:
    return [line.split(",")[0] for line in path.read_text(encoding="utf-8").splitlines()[1:]]


@pytest.mark.parametrize("name", ["entity13", "entity30", "living17", "nonliving26"])
def test_the_halves_of_breeds_share_no_class(name: str) -> None:
    source, target = (read_synsets(CARDS / f"breeds_{name}{half}.csv") for half in ("", "_target"))
    assert len(source) == len(target) == list(load_card(f"breeds_{name}").levels.values())[1]
    assert not set(source) & set(target)
    assert set(source) | set(target) <= set(read_synsets(CARDS / "imagenet.csv"))


def test_a_table_of_classes_is_checked(tmp_path: Path) -> None:
    copy = miniature("breeds_living17", tmp_path)
    table = Path(copy.card).with_suffix(".csv")
    for text in ("synset,name\n", "synset,name\nn01440764\n", "synset,name\nn01440764,a\nn01440764,b\n", "a,b\nc,d\n"):
        table.write_text(text)
        assert "expected a header, and in each line a synset of its own and its names" in faults(copy)
    table.write_text("synset,superclass,subclass\nn99999999,a,b\n")
    assert "there is no picture of a class of breeds_living17.csv in " in faults(copy)


@pytest.mark.parametrize("labels", ["LOC_val_solution.csv", "imagenet_2012_validation_synset_labels.txt"])
def test_a_flat_validation_folder_needs_its_labels(labels: str, tmp_path: Path) -> None:
    copy = miniature("imagenet", tmp_path)
    foldered = read(copy).splits["test"].nodes
    names = {}
    for i, path in enumerate(sorted((copy.root / "val").glob("*/*"))):
        names[f"ILSVRC2012_val_{i:08d}"] = path.parent.name
        path.rename(copy.root / f"val/ILSVRC2012_val_{i:08d}.JPEG")
    for folder in list((copy.root / "val").glob("n*")):
        folder.rmdir()
    text = faults(copy)
    assert "there is no list of their labels" in text
    assert f"no {labels}" in text
    lines = [f"{name},{synset} 1 2 3 4" for name, synset in names.items()]
    plain = list(names.values())
    content = ["ImageId,PredictionString", *lines] if labels.endswith("csv") else plain
    write(copy.root / labels, "\n".join(content))
    assert read(copy).splits["test"].nodes.tolist() == foldered.tolist()
    write(copy.root / labels, "\n".join(content[:-1]))
    assert "does not label all pictures" in faults(copy) if labels.endswith("csv") else "7 labels for 8" in faults(copy)


def test_imagenet_v2_counts_its_classes(tmp_path: Path) -> None:
    copy = miniature("imagenet_v2", tmp_path)
    table = read(copy)
    test = table.splits["test"]
    place = {key: table.taxonomy.names[v] for key, v in zip(test.keys, test.nodes.tolist(), strict=True)}
    assert place["imagenetv2-matched-frequency-format-val/281/test_0.JPEG"] == "tabby cat"
    write(copy.root / "imagenetv2-matched-frequency-format-val/1000/x.jpeg")
    assert "not of 0 … 999: 1000" in faults(copy)


# ---------------------------------------------------------------------- CoOp


def test_coop_rows_are_checked_one_by_one(tmp_path: Path) -> None:
    copy = miniature("oxford_pets_coop", tmp_path)
    path = copy.root / "split_zhou_OxfordPets.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "val": [["a.jpg", "0", "abyssinian"], ["b.jpg", 0], 7]}))
    text = faults(copy)
    for part in ("val.0.1: Input should be a valid integer", "val.1.2: Field required", "val.2: Input should be"):
        assert part in text
    content["val"][0][0] = "../../secret.jpg"
    content["test"][0] = content["train"][0]
    content["test"][1][2] = "Abysinian"
    path.write_text(json.dumps(content))
    text = faults(copy)
    for part in (
        "val: path leaves the folder",
        "leak: in both train and test",
        "'Abysinian' is no name in the tree, did you mean 'Abyssinian'?",
    ):
        assert part in text
    path.write_text('{"train": []}')
    assert "test: Field required" in faults(copy)
    path.write_text("{")
    assert "not valid JSON" in faults(copy)


def coop_draw(path: Path, places: list[str]) -> None:
    """A draw as CoOp pickles it: objects of dassl's class, found by name."""
    module = types.ModuleType("dassl.data.datasets.base_dataset")
    datum = type("Datum", (), {"__module__": module.__name__, "__qualname__": "Datum"})
    module.Datum = datum  # type: ignore[attr-defined]
    rows = []
    for place in places:
        row = datum()
        row.__dict__.update(_impath=place, _label=0, _domain=0, _classname="abyssinian")
        rows.append(row)
    parents = {"dassl": types.ModuleType("dassl"), "dassl.data": types.ModuleType("dassl.data")}
    parents |= {"dassl.data.datasets": types.ModuleType("dassl.data.datasets"), module.__name__: module}
    with pytest.MonkeyPatch.context() as patch:
        for name, entry in parents.items():
            patch.setitem(sys.modules, name, entry)
        write(path, pickle.dumps({"train": rows, "val": rows}, pickle.HIGHEST_PROTOCOL))


def test_coop_draws(tmp_path: Path) -> None:
    layout = {"name": "coop_split", "file": "split_zhou_OxfordPets.json", "draws": 1}
    copy = miniature("oxford_pets_coop", tmp_path, layout=layout)
    assert "has no draw of seed 1" in faults(copy)
    keys = read_table(load_card(miniature("oxford_pets_coop", tmp_path / "b").card), copy.root).splits["train"].keys
    drawn = [key for key in keys if key.endswith("train_1.jpg")]
    folder = copy.root / "split_fewshot"
    coop_draw(folder / "shot_1-seed_1.pkl", [f"/home/zhou/data/oxford_pets/images/{key}" for key in drawn])
    coop_draw(folder / "shot_2-seed_7.pkl", ["/other/seed"])
    table = read(copy)
    assert set(table.splits) == {"train", "train1", "val", "test"}
    assert table.splits["train1"].keys == tuple(drawn)
    assert training_split(table, Choice(shots=1, seed=99)).keys == tuple(drawn)
    coop_draw(folder / "shot_1-seed_1.pkl", ["/home/zhou/data/oxford_pets/images/unknown.jpg"])
    assert "shot_1-seed_1.pkl: not in 'train' of split_zhou_OxfordPets.json: /home/zhou" in faults(copy)
    write(folder / "shot_1-seed_1.pkl", pickle.dumps({"train": [Hostile()], "val": []}))
    assert "it asks for" in faults(copy)
    write(folder / "shot_1-seed_1.pkl", pickle.dumps({"train": ["a.jpg"]}))
    assert "it has no list 'train' of CoOp's samples" in faults(copy)


SPLITS = Path(os.environ.get("HIERFIT_SHARED", Path(__file__).parents[4] / "shared" / "data")) / "splits"


@pytest.mark.skipif(not SPLITS.is_dir(), reason="CoOp's split file is not here")
def test_coops_own_file_is_read_with_the_repositorys_card(tmp_path: Path) -> None:
    name = "split_zhou_OxfordPets.json"
    content = json.loads((SPLITS / name).read_text())
    (tmp_path / name).symlink_to(SPLITS / name)
    (tmp_path / "images").mkdir()
    for rows in content.values():
        for key, _, _ in rows:
            (tmp_path / "images" / key).touch()
    table = read_table(load_card("oxford_pets_coop"), tmp_path)
    assert {split: len(part) for split, part in table.splits.items()} == {"train": 2944, "val": 736, "test": 3669}
    for split, rows in content.items():
        for (key, _, name), node in zip(rows, table.splits[split].nodes.tolist(), strict=True):
            assert words(name) == words(table.taxonomy.names[node]), key
