"""`hierfit data new` on forms that real data sets have: each is read rightly, or refused with the way out."""

from __future__ import annotations

import io
import json
import os
import shutil
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from PIL import Image

from hierfit.data.images import open_image
from hierfit.taxonomy import Taxonomy
from tests.unit.tools.made import Pics, labels, made, many, refusal, sizes

N = 12
FLAT = many("{}.png", N)


class Form(NamedTuple):
    """Pictures, files beside them (one called ``t`` is given to the command), and what must come of it.

    `expected` is a label of each picture, or words of the refusal; `remark` words of what is concluded.
    """

    pictures: Iterable[str]
    expected: Mapping[str, str] | str
    files: Mapping[str, object] = {}
    remark: str = ""
    splits: Mapping[str, int] | None = None
    tree: Sequence[tuple[str, ...]] = ()  # given to the command


def classes(pattern: str, names: Iterable[str] = ("cat", "dog"), count: int = 4) -> dict[str, str]:
    """Pictures below folders of classes, and their labels."""
    return {pattern.format(name, i): name for name in names for i in range(count)}


def rows(header: str, *cells: str, sign: str = ",", names: Iterable[str] = FLAT) -> str:
    """A table whose first column is the picture; cells come round and round."""
    return "\n".join([header, *(f"{name}{sign}{cells[i % len(cells)]}" for i, name in enumerate(names))])


def ab(names: Iterable[str] = FLAT) -> dict[str, str]:
    return {name: "ab"[i % 2] for i, name in enumerate(names)}


def sets(pattern: str, label: str = "{}") -> dict[str, str]:
    return {pattern.format(c, s, i): label.format(c) for c in ("cat", "dog") for s in ("train", "test")
            for i in range(3)}  # fmt: skip


def packed() -> bytes:
    buffer = io.BytesIO()
    zipfile.ZipFile(buffer, "w").writestr("cat/0.png", "x")
    return buffer.getvalue()


def columns(
    header: str, cells: Callable[[int], str], names: Iterable[str] = FLAT, sign: str = ","
) -> dict[str, object]:
    """A table whose first column is the picture; cells by the number of their row."""
    return {"t.csv": "\n".join([header, *(f"{name}{sign}{cells(i)}" for i, name in enumerate(names))])}


BOXES = {f"train/labels/{i}.txt": "0 0.5 0.5 0.1 0.1" for i in range(5)}
CATEGORIES = [{"id": i, "name": name, "supercategory": above}
              for i, (name, above) in enumerate([("pets", "none"), ("cat", "pets"), ("dog", "pets")])]  # fmt: skip
COCO = {"images": [{"id": i, "file_name": name} for i, name in enumerate(FLAT)], "categories": CATEGORIES,
        "annotations": [{"image_id": i, "category_id": 1 + i % 2} for i in range(N)]}  # fmt: skip
COCO_LABELS = {name: ("cat", "dog")[i % 2] for i, name in enumerate(FLAT)}
STUDIO = [f"img/n{i}.png" for i in range(N)]
PLANTS = ("Acer,rubrum", "Quercus,rubrum", "Quercus,robur")
COLUMNS = {"path": {str(i): name for i, name in enumerate(FLAT)}, "label": {str(i): "ab"[i % 2] for i in range(N)}}
MERGED = "family,species,picture\n" + "\n".join(
    ",".join(["" if i % 6 else ("Laridae", "Corvidae")[i // 6], "" if i % 3 else f"bird {i // 3}", name])
    for i, name in enumerate(FLAT)
)
ODD = ("BlueJay", "Blue Jay", "yes", "1", "null", "a: b #c", "Ünïcode 鳥", 'quo"te', "-x")
MAC = [unicodedata.normalize("NFD", f"Colibrí/é{i}.png") for i in range(4)]

PATHS = (("bird", "gull", "kittiwake"), ("bird", "auk"), ("fish", "ray"))
DEEP = [f"im/sub/{'ab'[i % 2]} {i}.png" for i in range(N)]
IDS = many("im/00{}.png", 9)
CELLS: Mapping[str, Callable[[str], str]] = {
    "no ending": lambda path: Path(path).stem,
    "another ending": lambda path: path.replace(".png", ".JPG"),
    "another case": str.upper,
    "from elsewhere": lambda path: f"/home/someone/archive/{path}",
    "of Windows": lambda path: "C:\\data\\" + path.replace("/", "\\"),
    "a URL": lambda path: f"https://example.org/x/{path.replace(' ', '%20')}?v=1",
    "in another folder": lambda path: f"images/{Path(path).name}",
}
BELOW_IMAGES = many("images/{}.png", N)
LABELLED = [(name, "ab"[i % 2]) for i, name in enumerate(FLAT)]
SPLIT_COLUMNS: Mapping[str, tuple[Callable[[int], str], dict[str, int]]] = {
    "set": (lambda i: ("Training", "VALIDATION", "Test", "")[i % 4], {"train": 3, "val": 3, "test": 3}),
    "is_training_image": (lambda i: str(int(i % 4 > 0)), {"train": 9, "test": 3}),
    "split": (lambda i: "test", {"test": 12}),
    "fold": (lambda i: ("val", "train", "train")[i % 3], {"train": 8, "test": 4}),
}

FORMS: Mapping[str, Form] = {
    # ---- folders
    "a class's folder holds the splits": Form(sets("{}/{}/{}.png"), sets("{}/{}/{}.png"), {}, "",
                                              {"train": 6, "test": 6}),
    "a download for Mac": Form(classes("{}/{}.png"), classes("{}/{}.png"),
                               {"__MACOSX/cat/._0.png": "x", "cat/.DS_Store": "x", "dog/Thumbs.db": "x"}),
    "Roboflow's folders": Form({f"{s}/{k}": v for s in ("train", "valid") for k, v in classes("{}/{}.png").items()},
                               {f"train/{k}": v for k, v in classes("{}/{}.png").items()},
                               {"README.roboflow.txt": "pets - v1, x\n====\n\nvia, Roboflow", "data.yaml": "a: 1"},
                               "valid serves"),
    "YOLO's boxes": Form(many("train/images/{}.png", 5) + many("valid/images/{}.png", 3), "as of YOLO: those are not",
                         BOXES | {"data.yaml": "names: [cat, dog]"}),
    "Pascal VOC": Form(many("JPEGImages/{}.png", 3), "as of Pascal VOC",
                       {f"Annotations/{i}.xml": "<annotation/>" for i in range(3)}),
    "the class in the file's name": Form(many("images/cat_{}.png", 3) + many("images/dog_{}.png", 3), "path,label"),
    "a single class": Form(many("cat/{}.png", 5), "there is nothing to tell apart"),
    "test alone": Form(classes("test/{}/{}.png"), classes("test/{}/{}.png"), remark="data.targets", splits={"test": 8}),
    "a test without labels": Form([*classes("Train_Images/{}/{}.png"), *classes("valid/{}/{}.png"), "test/0.png"],
                                  {"valid/cat/0.png": "cat"}, {}, "1 picture lies in test, in no folder of a class",
                                  {"train": 8, "test": 8}),
    "folders that say nothing": Form(classes("data/images/{}/{}.png"), {"data/images/cat/0.png": "cat"}),
    "a test that says nothing": Form(sets("{1}/{0}/{2}.png") | dict.fromkeys(many("test/test/{}.png", 3), ""), {}),
    "names that would collide": Form(classes("{}/{}.png", ODD), classes("{}/{}.png", ODD)),
    "a tree in another spelling": Form(many("Blue_jay/{}.png", 4) + many("herring-gull/{}.png", 4),
                                       {"Blue_jay/0.png": "land/Blue Jay", "herring-gull/0.png": "sea/Herring Gull"},
                                       tree=[("land", "Blue Jay"), ("sea", "Herring Gull"), ("sea", "Puffin")]),
    "a leaf named like its only parent": Form(
        many("Fruit/Lemon/{}.png", 4) + many("Fruit/Apple/Gala/{}.png", 4), {"Fruit/Lemon/0.png": "Fruit/Lemon/Lemon"},
        tree=[("Fruit", "Lemon", "Lemon"), ("Fruit", "Apple", "Gala"), ("Fruit", "Apple", "Fuji")]),
    "train alone": Form(classes("train/{}/{}.png", count=10), classes("train/{}/{}.png", count=10),
                        remark="only the split 'train'"),
    "numbers for names": Form(classes("{}/{}.png", "012"), classes("{}/{}.png", "012"), remark="say nothing to a text"),
    "ids of WordNet": Form(classes("{}/{}.png", ("n01440764", "n02084071")), {}, remark="say nothing to a text"),
    "incertae sedis": Form([*many("Insecta/Muscidae/{}.png", 3), *many("Insecta/Diptera incertae sedis/{}.png", 3),
                            *many("Aves/Laridae/{}.png", 3), *many("unknown/{}.png", 3)],
                           {"Insecta/Diptera incertae sedis/0.png": "Insecta", "Aves/Laridae/0.png": "Aves/Laridae",
                            "unknown/0.png": "unknown"},
                           remark="the coarser label"),
    "lists that say the splits otherwise": Form(classes("images/{}/{}.png"), classes("images/{}/{}.png"),
                                                {"meta/train.txt": "cat/0\ncat/1\n", "meta/test.txt": "cat/2\n"},
                                                "meta/test.txt, meta/train.txt"),
    "letters of many scripts": Form(classes("{}/{} 🐈.png", ("猫", "🐕 dog", "Ñandú")),
                                    classes("{}/{} 🐈.png", ("猫", "🐕 dog", "Ñandú"))),
    # ---- tables
    "an index that pandas wrote": Form(FLAT, ab(), {"t.csv": "\n".join([",Unnamed: 0,image_path,kind", *(
        f"{i},{i},{name},{'ab'[i % 2]}" for i, name in enumerate(FLAT))])}),
    "ids of pictures as floats": Form(many("im/{}.png", N), ab(many("im/{}.png", N)),
                                      {"t.csv": rows("image_id,label", "a", "b", names=many("{}.0", N))}),
    "a title above the header": Form(FLAT, ab(), {"t.csv": "My pictures,\n,\n" + rows("picture,label", "a", "b")},
                                     "Column 'picture' names"),
    "merged cells": Form(FLAT, {"1.png": "Laridae/bird 0", "4.png": "Laridae/bird 1", "11.png": "Corvidae/bird 3"},
                         {"t.csv": MERGED}, "as merged cells do"),
    "genus and epithet": Form(FLAT, {"0.png": "Acer/Acer rubrum", "1.png": "Quercus/Quercus rubrum"},
                              {"t.csv": rows("path,genus,specificEpithet", *PLANTS)}, "'genus' is put before them"),
    "partitions by number": Form(FLAT, ab(), {"t.csv": rows("image_id,label,partition", "a,0", "b,0", "a,1", "b,2")},
                                 "0 is taken for train", {"train": 6, "val": 3, "test": 3}),
    "several labels in a cell": Form(FLAT, "'cat, dog' hold several labels",
                                     {"t.csv": rows("path,label", "cat", '"cat, dog"', "dog", '"dog, cat"')}),
    "a comma in a name": Form(FLAT, {"0.png": "gull, herring", "1.png": "auk, little"},
                              {"t.csv": rows("path,label", '"gull, herring"', '"auk, little"')}),
    "decimal commas and Windows": Form(FLAT, {"0.png": "Möwe", "1.png": "Krähe"},
                                       {"t.csv": rows("Datei;Gewicht;Art;Größe", "1,25;Möwe;0,5", "2,25;Krähe;1,5",
                                                      sign=";").encode("cp1252")}, "Windows-1252"),
    "VGG's annotator": Form(FLAT, ab(), {"t.csv": rows(
        "filename,file_size,region_attributes", *(f'{900 + i},"{{""type"":""{"ab"[i % 2]}""}}"' for i in range(N)))}),
    "Label Studio's table": Form(STUDIO, ab(STUDIO), {"t.csv": "\n".join(["image,id,choice,annotator,lead_time", *(
        f"/data/upload/3/{i:08x}-n{i}.png,{i},{'ab'[i % 2]},{i // 6},{i}.25" for i in range(N))])}),
    "a table of names on a Mac": Form([*MAC, *many("Pão/{}.png", 4)],
                                      {MAC[0]: "x", "Pão/1.png": "y"}, {"t.csv": "path,label\n" + "\n".join(
        [f"{unicodedata.normalize('NFC', name)},x" for name in MAC] + [f"Pão/{i}.png,y" for i in range(4)])}),
    "links": Form(FLAT, "downloads nothing", {"t.csv": rows("url,label", "a", "b", names=many(
        "https://live.example.com/p{}.jpg", N))}),
    "a tree for a table": Form(FLAT, "--taxonomy FILE", {"t.csv": "family,species\nLaridae,gull\nAlcidae,auk"}),
    "no header, no commas": Form(FLAT, ab(), {"t.txt": "\n".join(f"{name} {label}" for name, label in LABELLED)}),
    "one-hot": Form(FLAT, {"0.png": "MEL", "1.png": "NV", "2.png": "BCC"}, columns(
        "image,MEL,NV,BCC", lambda i: ",".join(f"{float(i % 3 == k)}" for k in range(3))), "hold a 1 for one class"),
    "not known, and gaps": Form(FLAT, {"0.png": "Aves/Laridae/Larus", "1.png": "Aves/Laridae", "2.png": "Aves",
                                       "3.png": "Pisces/(Pisces, family not given)/Gadus"},
                                {"t.csv": rows("id,class,family,genus", "Aves,Laridae,Larus", "Aves,Laridae,unknown",
                                               "Aves,N/A,N/A", "Pisces,,Gadus", "Pisces,Rajidae,Raja")}, "'N/A' (4)"),
    "an empty cell at the end of a line": Form(FLAT, {"0.png": "cat/lion", "1.png": "cat"}, {
        "t.csv": rows("path,family,species", "cat,lion", "cat,", "dog,wolf")}),
    "floats of pandas": Form(FLAT, {"1.png": "1/1", "2.png": "0/2", "5.png": "1"}, columns(
        "path,super_id,sub_id,score", lambda i: f"{i % 2}.0,{'' if i == 5 else f'{i % 4}.0'},{i % 5}.25"),
        "labels are numbers"),
    "by rank, not by order": Form(FLAT, {"0.png": "Laridae/Möwe", "1.png": "Corvidae/Krähe"}, columns(
        "picture,place,species,family",
        lambda i: f"Ort {i % 5},{('Möwe,Laridae', 'Krähe,Corvidae', 'Elster,Corvidae')[i % 3]}"), "not used: 'place'"),
    **{f"paths by {sign!r}": Form(FLAT, {FLAT[i]: "/".join(path) for i, path in enumerate(PATHS)},
                                  {"t.csv": rows("file,taxon", *map(sign.join, PATHS))},
                                  f"divided by {sign.strip()!r}" if sign != " / " else "")
       for sign in (" > ", "::", "|", " -> ", "\\", "--", " / ")},
    **{f"a list as {form}": Form(FLAT, {"0.png": "bird/gull", "1.png": "fish/ray"},
                                 columns("image;taxon;id", lambda i, form=form: (
                                     form.format(*(("bird", "gull"), ("fish", "ray"))[i % 2]) + f";{i}"), sign=";"))
       for form in ('["{}", "{}"]', "['{}', '{}']", '{{"taxonomy": [["{}", "{}"]]}}')},
    **{f"cells with {kind}": Form(DEEP, ab(DEEP), {"t.csv": rows("picture,label", "a", "b", names=map(cell, DEEP))},
                                  "No layout reads this") for kind, cell in CELLS.items()},
    "numbers without their zeros": Form(IDS, ab(IDS), {"t.csv": rows("picture,label", "a", "b", names=many("{}", 9))}),
    **{f"splits in {name!r}": Form(FLAT, {}, columns(
        f"picture,label,{name}", lambda i, cell=cell: f"{'abc'[i // 4]},{cell(i)}"), splits=expected)
       for name, (cell, expected) in SPLIT_COLUMNS.items()},
    # ---- tables that cannot be read
    "pictures that are nowhere": Form(FLAT, "holds paths of pictures that are there",
                                      {"t.csv": "path,label\nnowhere.png,cat\nnone.png,dog"}),
    "captions": Form(FLAT, "no column looks like a label", columns("path,caption", lambda i: f"n{i}")),
    "measurements": Form(FLAT, "score: decimal numbers", columns("path,score", lambda i: f"{i % 5}.25")),
    "several labels": Form(FLAT, "several labels of one", {"t.csv": rows("path,label", "cat|dog", "dog|cat", "a|cat")}),
    "several ones in a row": Form(FLAT, "several of them or none", {"t.csv": rows("path,a,b,c", "0,0,1", "1,1,1")}),
    "most pictures missing": Form(many("{}.png", 5), "7 are not there", {"t.csv": rows("path,label", "a", "b")}),
    "nothing to train on": Form(FLAT, "no split to train on", {"t.csv": rows("path,label,set", "a,val", "b,test")}),
    "a zero byte": Form(FLAT, "holds a zero byte", {"t.csv": "path,label\n\0,x\n"}),
    # ---- JSON
    "CoOp's": Form(FLAT, ab(), {"t.json": {
        "train": [[n, 7, label] for n, label in LABELLED[:8]], "val": [],
        "test": [[n, 7, label] for n, label in LABELLED[8:]]}}, splits={"train": 8, "test": 4}),
    "records by split": Form(FLAT, ab(), {"t.json": {
        "training": [{"img": n, "y": label} for n, label in LABELLED[:8]],
        "test": [{"img": n, "y": label} for n, label in LABELLED[8:]]}}, splits={"train": 8, "test": 4}),
    "a wrapped list": Form(BELOW_IMAGES, ab(BELOW_IMAGES), {"t.json": {
        "info": {"year": 1}, "samples": [{"f": {"path": n}, "y": label} for n, label in LABELLED]}}),
    "labels by picture": Form(BELOW_IMAGES, ab(BELOW_IMAGES), {"t.json": dict(LABELLED)}),
    "records by picture": Form(FLAT, ab(), {"t.json": {name: {"label": label} for name, label in LABELLED}}),
    "pictures by label": Form(FLAT, ab(), {"t.json": {"a": FLAT[::2], "b": FLAT[1::2]}}),
    "JSON of another kind": Form(FLAT, "COCO, Label Studio and CoOp are", {"t.json": '{"a": {"b": 1}}'}),
    "half a JSON": Form(FLAT, "line 1, column 7: not valid JSON", {"t.json": '{"a": '}),
    "JSON without end": Form(FLAT, "cannot be read", {"t.json": '[{"a": ' + "[" * 99_999}),
    "Roboflow's root category": Form(FLAT, COCO_LABELS, {"_annotations.coco.json": COCO}, "pets"),
    "columns that pandas wrote": Form(FLAT, ab(), {"t.json": COLUMNS}),
    "lists that pandas wrote": Form(FLAT, ab(), {"t.json": {k: list(v.values()) for k, v in COLUMNS.items()}}),
    "VGG's annotations": Form(FLAT, "COCO, Label Studio and CoOp are",
                              {"t.json": {f"{n}90{i}": {"filename": n, "size": i} for i, n in enumerate(FLAT)}}),
    # ---- other kinds of file
    "a ZIP": Form(FLAT, "Unpack it", {"t.zip": packed()}),
    "an Excel file of the old kind": Form(FLAT, "Save the table as CSV", {"t.xls": b"\xd0\xcf\x11\xe0" + bytes(60)}),
    "a Parquet table": Form(FLAT, "pandas.read_parquet", {"t.parquet": b"PAR1" + bytes(60)}),
    "a clone without Git LFS": Form([], "git lfs pull", {f"{c}/{i}.jpg": "version https://git-lfs.github.com/spec/v1\n"
                                                        for c in "ab" for i in range(3)}),
    "failed downloads": Form([], "a web page, not a picture", {f"{c}/{i}.jpg": "<!DOCTYPE html>" for c in "ab"
                                                              for i in range(3)}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_forms_of_real_data_sets(name: str, pics: Pics, tmp_path: Path) -> None:
    form = FORMS[name]
    root = pics(*form.pictures)
    for file, content in form.files.items():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
        if not isinstance(content, str | bytes):
            content = json.dumps(content)
        (root / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    given = next(root.glob("t.*"), root)
    if isinstance(form.expected, str):
        assert form.expected in " ".join(refusal(given, tmp_path).split())
        return
    written, _, table = made(given, tmp_path, taxonomy=Taxonomy.from_paths(form.tree) if form.tree else None)
    known = labels(table)
    assert {key: known[key] for key in form.expected} == form.expected
    assert form.remark in "\n".join(written.found.remarks)
    if form.splits:
        assert sizes(table) == form.splits


def test_a_workbook_with_merged_cells(pics: Pics, tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    root = pics(*FLAT)
    book = openpyxl.Workbook()
    for line in MERGED.split("\n"):
        book.active.append([cell or None for cell in line.split(",")])
    for column, step in (("A", 6), ("B", 3)):
        for row in range(2, N + 2, step):
            book.active.merge_cells(f"{column}{row}:{column}{row + step - 1}")
    book.create_sheet("notes").append(("a note", "of two cells"))
    book.save(root / "list.xlsx")
    known = labels(made(root / "list.xlsx", tmp_path)[2])
    assert (known["2.png"], known["11.png"]) == ("Laridae/bird 0", "Corvidae/bird 3")


def test_pictures_of_an_iphone_and_of_a_microscope(pics: Pics, tmp_path: Path) -> None:
    heif = pytest.importorskip("pillow_heif")
    root = pics(*many("newt/{}.png", 4))
    (root / "fox").mkdir()
    (root / "cell").mkdir()
    rng = np.random.default_rng(0)
    for i in range(4):
        photo = Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8))
        heif.from_pillow(photo).save(root / f"fox/{i}.HEIC")
        Image.fromarray(rng.integers(0, 4096, (40, 40)).astype(np.uint16)).save(root / f"cell/{i}.png")
    written, _, table = made(root, tmp_path)
    assert sum(sizes(table).values()) == N
    assert not any("dark" in line or "passed over" in line for line in written.audit.warnings)
    assert np.asarray(open_image(root / "cell/0.png")).mean() == pytest.approx(127, abs=8)


def test_names_on_disk_that_are_no_text(pics: Pics, tmp_path: Path) -> None:
    root = pics(*classes("{}/{}.png"))
    odd = os.fsencode(root) + b"/caf\xe9"
    try:
        os.mkdir(odd)
    except OSError:
        pytest.skip("this file system has text for names only")
    shutil.copy(root / "cat/0.png", odd + b"/1.png")
    text = refusal(root, tmp_path)
    assert "caf\\xe9/1.png" in text
    assert "convmv" in text
