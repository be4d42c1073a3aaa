"""`hierfit data new` on folders and tables as people have them: read rightly, or refused with the way out."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hierfit.cli import main
from hierfit.data.bundle import Bundle, BundleSplit, write_bundle
from hierfit.data.card import load_card
from hierfit.data.images import open_image
from hierfit.data.table import Table
from hierfit.taxonomy import Taxonomy
from hierfit.tools.check.audit import audit
from tests.unit.tools.made import labels, made, refusal

Save = Callable[[Path, int], None]


def sizes(table: Table) -> dict[str, int]:
    return {name: len(split) for name, split in table.splits.items()}


def leaves(table: Table) -> set[str]:
    return {table.taxonomy.full_name(v) for v in table.taxonomy.leaves.tolist()}


@pytest.fixture
def pics(tmp_path: Path, save_picture: Save) -> Callable[..., Path]:
    """Pictures of noise by their paths below ``data``."""
    count = iter(range(1, 10_000))

    def save(*paths: str) -> Path:
        for path in paths:
            save_picture(tmp_path / "data" / path, next(count))
        return tmp_path / "data"

    return save


def many(pattern: str, count: int) -> list[str]:
    return [pattern.format(i) for i in range(count)]


# ---------------------------------------------------------------------- folders


def test_train_and_val_alone_and_a_draw_of_validation(pics: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("fish", "newt"):
        pics(*many(f"train/{name}/{{}}.png", 10), *many(f"val/{name}/{{}}.png", 3))
    root = tmp_path / "data"
    written, card, table = made(root, tmp_path)
    assert sizes(table) == {"train": 20, "test": 6}
    assert card.root == root
    assert any("val serves" in line for line in written.found.remarks)
    assert any("--val 0.1" in line for line in written.found.remarks)
    _, _, drawn = made(root, tmp_path, val=0.2)
    assert sizes(drawn) == {"train": 16, "val": 4, "test": 6}
    assert set(drawn.splits["test"].keys) == set(table.splits["test"].keys)


def test_a_test_without_labels_is_no_split_to_test_on(pics: Callable[..., Path], tmp_path: Path) -> None:
    for name in ("fish", "newt"):
        pics(*many(f"Train_Images/{name}/{{}}.png", 5), *many(f"valid/{name}/{{}}.png", 2))
    root = pics(*many("test/{}.png", 4))
    written, _, table = made(root, tmp_path)
    assert sizes(table) == {"train": 10, "test": 4}
    assert any("4 pictures in test lie in no folder of a class" in line for line in written.found.remarks)


def test_folders_that_say_nothing_are_no_level(pics: Callable[..., Path], tmp_path: Path) -> None:
    root = pics(*many("data/images/fish/{}.png", 5), *many("data/images/newt/{}.png", 5))
    _, card, table = made(root, tmp_path)
    assert list(card.levels.values()) == [2]
    assert set(labels(table).values()) == {"fish", "newt"}
    pics(*(f"split/{s}/{c}/{i}.png" for s in ("train", "val") for c in ("fish", "newt") for i in range(3)))
    pics(*many("split/test/test/{}.png", 3))
    _, card, table = made(root / "split", tmp_path)
    assert sizes(table) == {"train": 6, "test": 6}


def test_a_set_with_test_only_is_a_target(pics: Callable[..., Path], tmp_path: Path) -> None:
    root = pics(*many("test/fish/{}.png", 3), *many("test/newt/{}.png", 3))
    written, card, table = made(root, tmp_path)
    assert sizes(table) == {"test": 6}
    assert list(card.splits) == ["test"]
    assert any("data.targets" in line for line in written.found.remarks)


def test_one_class_in_several_spellings(pics: Callable[..., Path], tmp_path: Path) -> None:
    """Underscores, case, blanks around, Unicode forms: one class, and the card says what was renamed."""
    mac = unicodedata.normalize("NFD", "Pão_de_queijo")
    pics(*many("train/Beef_Tomato/{}.png", 4), *many(f"train/{mac}/{{}}.png", 4), *many("train/Leek /{}.png", 4))
    root = pics(*many("test/beef tomato/{}.png", 2), *many("test/Pão_de_queijo/{}.png", 2), "test/Leek/0.png")
    written, card, table = made(root, tmp_path)
    assert set(card.tree.names) == {"beef tomato", "Pão_de_queijo", "Leek"}
    assert card.layout.options["names"] == {"Beef_Tomato": "beef tomato"}
    assert any("'Beef_Tomato' = " in line or "Beef_Tomato = beef tomato" in line for line in written.found.remarks)
    assert sizes(table) == {"train": 12, "test": 5}
    found = audit(card, None)
    assert not [line for line in found.warnings if "not trained on" in line]


def test_a_given_tree_in_another_spelling(pics: Callable[..., Path], tmp_path: Path) -> None:
    root = pics(*many("Blue_jay/{}.png", 4), *many("herring-gull/{}.png", 4))
    tree = Taxonomy.from_paths([("land", "Blue Jay"), ("sea", "Herring Gull"), ("sea", "Puffin")])
    _, card, table = made(root, tmp_path, taxonomy=tree)
    assert set(labels(table).values()) == {"land/Blue Jay", "sea/Herring Gull"}
    assert any("train: no image of sea/Puffin" in line for line in audit(card, None).warnings)


def test_a_leaf_named_like_its_only_parent(pics: Callable[..., Path], tmp_path: Path) -> None:
    root = pics(
        *many("Fruit/Lemon/{}.png", 4), *many("Fruit/Apple/Gala/{}.png", 4), *many("Fruit/Apple/Fuji/{}.png", 4)
    )
    tree = Taxonomy.from_paths([("Fruit", "Lemon", "Lemon"), ("Fruit", "Apple", "Gala"), ("Fruit", "Apple", "Fuji")])
    _, _, table = made(root, tmp_path, taxonomy=tree)
    assert labels(table)["Fruit/Lemon/0.png"] == "Fruit/Lemon/Lemon"


def test_not_known_below_a_class_is_the_class(pics: Callable[..., Path], tmp_path: Path) -> None:
    root = pics(
        *many("Insecta/Muscidae/{}.png", 4), *many("Insecta/not_classified/{}.png", 4), *many("unknown/{}.png", 4)
    )
    _, _, table = made(root, tmp_path)
    assert labels(table)["Insecta/not_classified/1.png"] == "Insecta"
    assert leaves(table) == {"Insecta/Muscidae", "unknown"}


@pytest.mark.parametrize("readable", [True, False])
def test_kinds_that_are_not_read_are_counted(
    readable: bool, pics: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """With pillow-heif a damaged HEIC is a picture that cannot be read; without it, and others always, passed over."""
    root = pics(*many("data/newt/{}.png", 4), *many("data/fish/{}.png", 4)) / "data"
    for path in ("newt/a.HEIC", "fox/b.HEIC", "fox/c.HEIC", "newt/d.cr2"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    (root / "newt/bare").write_bytes((root / "newt/0.png").read_bytes())
    if not readable:
        for module in ("images", "layouts.folders"):
            extensions = frozenset({".png", ".jpg"})
            monkeypatch.setattr(f"hierfit.data.{module}.EXTENSIONS", extensions)
        monkeypatch.setattr("hierfit.data.images.UNREAD", frozenset({".heic", ".cr2"}))
    else:
        pytest.importorskip("pillow_heif")
    written, _, table = made(root, tmp_path)
    text = "\n".join(written.found.remarks)
    assert ".cr2 1" in text
    assert "without an ending 1" in text
    assert "fox" in text
    assert leaves(table) == {"fish", "newt"}
    assert (".heic 3" in text) != readable
    assert ("newt/a.HEIC" in written.left_out) == readable
    main(["data", "check", str(written.path)])
    with pytest.raises(SystemExit):
        main(["data", "check", str(written.path), "--strict"])
    out = capsys.readouterr().out
    assert "files are passed over" in out
    assert ("none of the 3 pictures that end in .heic can be read" in " ".join(out.split())) == readable


def test_pictures_of_twelve_bits_are_stretched(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 600).reshape(20, 30)
    for top, stated in ((1000, {}), (4095, {}), (65535, {}), (3000, {281: 60000}), (20_000, {281: 20_000})):
        path = tmp_path / "a.tif"
        Image.fromarray((ramp * top).astype(np.uint16)).save(path, tiffinfo=stated)
        mean = np.asarray(open_image(path)).mean()
        expected = 127 * top / stated.get(281, {1000: 1023, 4095: 4095, 65535: 65535}.get(top, top))
        assert abs(mean - expected) < 1.5, (top, stated, mean)
    Image.fromarray((ramp * 1000).astype(np.int32)).save(tmp_path / "b.tif")
    assert np.asarray(open_image(tmp_path / "b.tif")).mean() > 120


def test_nearly_black_pictures_are_a_warning(pics: Callable[..., Path], tmp_path: Path) -> None:
    root = pics(*many("newt/{}.png", 4), *many("fish/{}.png", 4))
    dark = np.random.default_rng(0).integers(0, 12, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(dark).save(root / "newt/dark.png")
    written, *_ = made(root, tmp_path)
    assert any(
        "nearly black" in line and "newt/dark.png" in line
        for line in audit(load_card(str(written.path)), None).warnings
    )


# ---------------------------------------------------------------------- tables


def table_of(root: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode(encoding))
    return root / name


def rows_of(names: list[str], *cells: Callable[[int], str]) -> str:
    return "\n".join(",".join([name, *(cell(i) for cell in cells)]) for i, name in enumerate(names))


def test_one_column_for_each_class(pics: Callable[..., Path], tmp_path: Path) -> None:
    names = many("im/{}.png", 12)
    root = pics(*names)
    hot = rows_of(names, *(lambda i, k=k: f"{float(i % 3 == k)}" for k in range(3)))  # type: ignore[misc]
    written, _, table = made(table_of(root, f"image, MEL, NV, BCC\n{hot}"), tmp_path)
    assert labels(table)["im/4.png"] == "NV"
    assert leaves(table) == {"MEL", "NV", "BCC"}
    assert written.found.samples is not None
    several = rows_of(names, lambda i: str(i % 2), lambda i: str(int(i % 3 > 0)), lambda i: "1")
    assert "several of them or none" in refusal(table_of(root, f"image,a,b,c\n{several}"), tmp_path)


def test_not_known_is_the_coarser_label_and_gaps_are_filled(pics: Callable[..., Path], tmp_path: Path) -> None:
    names = many("im/{}.png", 30)
    root = pics(*names)
    ranks = ["Aves,Laridae,Larus", "Aves,Laridae,unknown", "Aves,N/A,N/A", "Pisces,,Gadus", "Pisces,Rajidae,Raja"]
    written, card, table = made(
        table_of(root, "id,class,family,genus\n" + rows_of(names, lambda i: ranks[i % 5])), tmp_path
    )
    assert list(card.levels) == ["class", "family", "genus"]
    known = labels(table)
    assert [known[names[i]] for i in range(5)] == [
        "Aves/Laridae/Larus", "Aves/Laridae", "Aves", "Pisces/(family of Gadus)/Gadus", "Pisces/Rajidae/Raja",
    ]  # fmt: skip
    assert any("'N/A' (12)" in line for line in written.found.remarks)


@pytest.mark.parametrize("sign", [" > ", "::", "|", " -> ", "\\", "--", " / "])
def test_a_whole_path_in_a_cell(sign: str, pics: Callable[..., Path], tmp_path: Path) -> None:
    names = many("im/{}.png", 12)
    paths = [sign.join(path) for path in (("bird", "gull", "kittiwake"), ("bird", "auk"), ("fish", "ray"))]
    root = pics(*names)
    _, card, table = made(table_of(root, "file,taxon\n" + rows_of(names, lambda i: paths[i % 3])), tmp_path)
    assert list(card.levels.values()) == [2, 3, 1]
    assert labels(table)["im/0.png"] == "bird/gull/kittiwake"


@pytest.mark.parametrize("form", ['["{}", "{}"]', "['{}', '{}']", '{{"taxonomy": [["{}", "{}"]]}}'])
def test_a_list_in_a_cell_is_a_path(form: str, pics: Callable[..., Path], tmp_path: Path) -> None:
    names = many("im/{}.png", 12)
    paths = [form.format("bird", "gull"), form.format("bird", "auk"), form.format("fish", "ray")]
    text = "image;taxon;id\n" + "\n".join(f"{name};{paths[i % 3]};{i}" for i, name in enumerate(names))
    assert labels(made(table_of(pics(*names), text), tmp_path)[2])["im/1.png"] == "bird/auk"


def test_several_labels_in_a_cell_are_refused(pics: Callable[..., Path], tmp_path: Path) -> None:
    names = many("im/{}.png", 12)
    cells = ["cat|dog", "dog|cat", "cat|bird"]
    assert "several labels of one picture" in refusal(
        table_of(pics(*names), "file,label\n" + rows_of(names, lambda i: cells[i % 3])), tmp_path
    )


def test_whole_numbers_that_pandas_wrote_as_floats(pics: Callable[..., Path], tmp_path: Path) -> None:
    names = many("im/{}.png", 24)
    text = "path,super_id,sub_id,score\n" + rows_of(
        names, lambda i: f"{i % 2}.0", lambda i: "" if i == 5 else f"{i % 4}.0", lambda i: f"{i % 5}.25"
    )
    _, _, table = made(table_of(pics(*names), text), tmp_path)
    assert labels(table)["im/3.png"] == "1/3"
    assert labels(table)["im/5.png"] == "1"
    only = "path,score\n" + rows_of(names, lambda i: f"{i % 5}.25")
    assert "score: decimal numbers" in refusal(table_of(tmp_path / "data", only), tmp_path)


CELLS: Mapping[str, Callable[[str, Path], str]] = {
    "no ending": lambda path, _: Path(path).stem,
    "another ending": lambda path, _: path.replace(".png", ".JPG"),
    "a number": lambda path, _: str(int(Path(path).stem)),
    "another case": lambda path, _: path.upper(),
    "absolute": lambda path, root: str(root / path),
    "from elsewhere": lambda path, _: f"/home/someone/archive/{path}",
    "of Windows": lambda path, _: "C:\\data\\" + path.replace("/", "\\"),
    "a URL": lambda path, _: f"https://example.org/x/{path.replace(' ', '%20')}?v=1",
    "in another folder": lambda path, _: f"images/{Path(path).name}",
}


@pytest.mark.parametrize("kind", CELLS)
def test_paths_in_other_forms(kind: str, pics: Callable[..., Path], tmp_path: Path) -> None:
    number = kind == "a number"  # which a spreadsheet made of 003
    names = [f"im/sub/{i:03}.png" if number else f"im/sub/{'ab'[i % 2]} {i}.png" for i in range(12)]
    root = pics(*names)
    text = "picture,label\n" + "\n".join(f"{CELLS[kind](name, root)},{'ab'[i % 2]}" for i, name in enumerate(names))
    _, _, table = made(table_of(root, text), tmp_path)
    assert labels(table) == {name: "ab"[i % 2] for i, name in enumerate(names)}


def test_a_folder_with_a_table_of_bare_names(pics: Callable[..., Path], tmp_path: Path) -> None:
    """Its folders of pictures are no classes, though a table of other things beside them would not say so."""
    root = pics(*(f"part_{i % 2}/ISIC_{i:03}.png" for i in range(12)))
    text = "lesion,image_id,dx,age,place\n" + "\n".join(
        f"L{i // 2},ISIC_{i:03},{'ab'[i // 2 % 2]},{30 + i % 5}.0,place {i % 6}" for i in range(12)
    )
    table_of(root, text, "HAM_metadata.csv")
    assert set(labels(made(root, tmp_path)[2]).values()) == {"a", "b"}
    table_of(root, "id,name\n0,x\n1,y\n", "HAM_metadata.csv")
    assert set(labels(made(root, tmp_path)[2]).values()) == {"part_0", "part_1"}


def test_names_that_several_pictures_have(pics: Callable[..., Path], tmp_path: Path) -> None:
    """The folder stands in another column; where none says it, nothing is guessed."""
    names = [f"im/{c}/{i}.png" for c in "abc" for i in range(5)]
    root = pics(*names)
    text = "file,kind\n" + "\n".join(f"{Path(name).name},{name[3]}" for name in names)
    assert labels(made(table_of(root, text), tmp_path)[2]) == {name: name[3] for name in names}
    other = text.replace(",a", ",x").replace(",b", ",y").replace(",c", ",z")
    assert "fit several pictures alike" in refusal(table_of(root, other), tmp_path)


def test_a_competition_whose_test_has_no_labels(pics: Callable[..., Path], tmp_path: Path) -> None:
    root = pics(*many("train/r{}.png", 12), *many("test/t{}.png", 4))
    table_of(root, "id,breed\n" + "\n".join(f"r{i},{'ab'[i % 2]}" for i in range(12)), "train.csv")
    table_of(root, "id,breed\n" + "\n".join(f"t{i},a" for i in range(4)), "sample_submission.csv")
    for text in ("id\nt0\nt1\nt2\nt3\n", "id,size\nt0,9\nt1,9\nt2,9\nt3,9\n"):
        table_of(root, text, "test.csv")
        written, _, table = made(root, tmp_path)
        assert sum(sizes(table).values()) == 12
        assert any("Not used" in line and "test.csv" in line for line in written.found.remarks)


def test_absolute_paths_of_pictures_elsewhere(pics: Callable[..., Path], tmp_path: Path) -> None:
    names = many("im/{}.png", 8)
    root = pics(*names)
    text = "picture,label\n" + "\n".join(f"{root / name},{'ab'[i % 2]}" for i, name in enumerate(names))
    _, card, table = made(table_of(tmp_path / "lists", text), tmp_path)
    assert card.root == root / "im"
    assert labels(table)["3.png"] == "b"


def test_a_picture_that_is_not_there_is_no_other(pics: Callable[..., Path], tmp_path: Path) -> None:
    """`a/9.png` is missing; that `b/9.png` is there must not make it that picture."""
    names = [*many("a/{}.png", 9), *many("b/{}.png", 10)]
    root = pics(*names)
    text = "picture,label\n" + "\n".join(f"{name},{name[0]}" for name in ["a/9.png", *names])
    written, _, table = made(table_of(root, text), tmp_path)
    assert labels(table) == {name: name[0] for name in names}
    assert any("1 row of a picture that is not there: a/9.png" in line for line in written.found.remarks)


def test_rows_that_contradict_each_other(pics: Callable[..., Path], tmp_path: Path) -> None:
    names = many("im/{}.png", 12)
    text = rows_of(names, lambda i: "ab"[i % 2]) + "\nim/0.png,a\nim/1.png,a\nim/1.png,b"
    written, _, table = made(table_of(pics(*names), f"picture,label\n{text}"), tmp_path)
    assert set(labels(table)) == set(names) - {"im/1.png"}
    assert any("another label or split: im/1.png" in line for line in written.found.remarks)


@pytest.mark.parametrize(
    ("header", "cell", "expected"),
    [
        ("set", lambda i: ("Training", "VALIDATION", "Test", "")[i % 4], {"train": 6, "val": 6, "test": 6}),
        ("is_training_image", lambda i: str(int(i % 4 > 0)), {"train": 18, "test": 6}),
        ("split", lambda i: "test", {"test": 24}),
        ("fold", lambda i: "train" if i % 3 else "val", {"train": 16, "test": 8}),
    ],
)
def test_splits_in_a_column(
    header: str, cell: Callable[[int], str], expected: dict[str, int], pics: Callable[..., Path], tmp_path: Path
) -> None:
    names = many("im/{}.png", 24)
    text = f"picture,label,{header}\n" + rows_of(names, lambda i: "abc"[(i // 4) % 3], cell)
    assert sizes(made(table_of(pics(*names), text), tmp_path)[2]) == expected


def test_a_table_of_windows_with_an_index_and_words_that_are_no_labels(
    pics: Callable[..., Path], tmp_path: Path
) -> None:
    names = many("im/{}.png", 24)
    text = ";picture;place;species;family\n" + "\n".join(
        f"{i};{name};Ort {i % 11};{('Möwe', 'Krähe', 'Elster')[i % 3]};{('Laridae', 'Corvidae', 'Corvidae')[i % 3]}"
        for i, name in enumerate(names)
    )
    written, _, table = made(table_of(pics(*names), text, encoding="cp1252"), tmp_path)
    assert labels(table)["im/1.png"] == "Corvidae/Krähe"
    assert any("Windows-1252" in line for line in written.found.remarks)
    assert any("'place'" in line for line in written.found.remarks)


def test_a_workbook(pics: Callable[..., Path], tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl")
    names = many("im/{}.png", 12)
    root, book = pics(*names), openpyxl.Workbook()
    for row in [("picture", "species"), *((name, "ab"[i % 2]) for i, name in enumerate(names))]:
        book.active.append(row)
    book.save(root / "list.xlsx")
    assert leaves(made(root, tmp_path)[2]) == {"a", "b"}


# ---------------------------------------------------------------------- JSON


def coco(names: list[str]) -> dict[str, object]:
    kinds = [(3, "gull", "bird"), (5, "auk", "bird"), (9, "ray", "fish"), (11, "eel", "fish")]
    return {
        "images": [{"id": 100 + i, "file_name": name, "width": 9} for i, name in enumerate(names)],
        "annotations": [{"id": i, "image_id": 100 + i, "category_id": kinds[i % 3][0]} for i in range(len(names))],
        "categories": [{"id": i, "name": name, "supercategory": above} for i, name, above in kinds],
    }


def test_coco(pics: Callable[..., Path], tmp_path: Path) -> None:
    """With annotations in a folder of their own, and as Roboflow has it, in each split's."""
    names = many("{}.png", 12)
    root = pics(*(f"train2017/{name}" for name in names))
    document = coco(names)
    document["annotations"] += [{"id": 99, "image_id": 100, "category_id": 5}]  # type: ignore[operator]
    file = table_of(root, json.dumps(document), "annotations/instances.json")
    for source in (root, file):
        written, _, table = made(source, tmp_path)
        assert labels(table)["train2017/1.png"] == "bird/auk"
        assert "train2017/0.png" not in labels(table)
        assert any("eel" in line for line in written.found.remarks)
    file.unlink()
    (root / "train2017").rename(root / "train")
    pics(*(f"valid/{name}" for name in names))
    for split in ("train", "valid"):
        table_of(root, json.dumps(coco(names)), f"{split}/_annotations.coco.json")
    _, _, table = made(root, tmp_path)
    assert sizes(table) == {"train": 12, "test": 12}
    assert labels(table)["valid/2.png"] == "fish/ray"
    for split in ("train", "valid"):  # the same names in both folders, and the tables in a third
        (root / split / "_annotations.coco.json").unlink()
        table_of(root, json.dumps(coco(names)), f"annotations/instances_{split}.json")
    _, _, table = made(root, tmp_path)
    assert sizes(table) == {"train": 12, "test": 12}
    _, _, table = made(root / "annotations/instances_valid.json", tmp_path)
    assert {Path(key).parts[-2:-1] for key in labels(table)} == {("valid",)}


def test_label_studio(pics: Callable[..., Path], tmp_path: Path) -> None:
    names = many("im/{}.png", 12)
    root = pics(*names)

    def task(i: int, result: dict[str, object]) -> dict[str, object]:
        image = f"/data/upload/7/0a1b2c3d-{i}.png"
        return {"id": i, "data": {"image": image}, "annotations": [{"result": [result]}]}

    taxonomy = [["Eukarya", "newt"], ["Eukarya", "frog"], ["Archaea"]]
    nested = [
        task(i, {"from_name": "t", "type": "taxonomy", "value": {"taxonomy": [taxonomy[i % 3]]}}) for i in range(12)
    ]
    _, _, table = made(table_of(root, json.dumps(nested), "export.json"), tmp_path)
    assert labels(table)["im/1.png"] == "Eukarya/frog"
    assert labels(table)["im/2.png"] == "Archaea"
    chosen = [task(i, {"from_name": "c", "type": "choices", "value": {"choices": ["ab"[i % 2]]}}) for i in range(11)]
    chosen.append({"id": 99, "data": {"image": "/data/local-files/?d=im/11.png"}, "annotations": []})
    written, _, table = made(table_of(root, json.dumps(chosen), "export.json"), tmp_path)
    assert labels(table)["im/3.png"] == "b"
    assert any("1 row without a label" in line for line in written.found.remarks)
    minimal = [{"image": f"/data/local-files/?d=im/{i}.png", "choice": "ab"[i % 2], "id": i} for i in range(12)]
    assert labels(made(table_of(root, json.dumps(minimal), "export.json"), tmp_path)[2])["im/3.png"] == "b"


JSONS: Mapping[str, Callable[[list[str]], object]] = {
    "CoOp": lambda names: {
        "train": [[name, i % 2, "ab"[i % 2]] for i, name in enumerate(names[:8])],
        "val": [],
        "test": [[name, i % 2, "ab"[i % 2]] for i, name in enumerate(names[8:])],
    },
    "records by split": lambda names: {
        "training": [{"img": name, "y": "ab"[i % 2]} for i, name in enumerate(names[:8])],
        "test": [{"img": name, "y": "ab"[i % 2]} for i, name in enumerate(names[8:])],
    },
    "a wrapped list": lambda names: {
        "info": {"year": 1},
        "samples": [{"f": {"path": name}, "y": "ab"[i % 2]} for i, name in enumerate(names)],
    },
    "labels by picture": lambda names: {name: "ab"[i % 2] for i, name in enumerate(names)},
    "records by picture": lambda names: {name: {"label": "ab"[i % 2]} for i, name in enumerate(names)},
    "pictures by label": lambda names: {"a": names[::2], "b": names[1::2]},
}


@pytest.mark.parametrize("kind", JSONS)
def test_json_in_other_forms(kind: str, pics: Callable[..., Path], tmp_path: Path) -> None:
    names = many("{}.png", 12)
    root = pics(*(f"images/{name}" for name in names))
    _, _, table = made(table_of(root, json.dumps(JSONS[kind](names)), "split.json"), tmp_path)
    assert {Path(key).name: label for key, label in labels(table).items()} == {
        n: "ab"[i % 2] for i, n in enumerate(names)
    }
    if "split" in kind or kind == "CoOp":
        assert sizes(table) == {"train": 8, "test": 4}


def test_json_of_another_kind_is_refused(pics: Callable[..., Path], tmp_path: Path) -> None:
    root = pics("a.png")
    assert "COCO, Label Studio and CoOp are" in refusal(table_of(root, '{"a": {"b": 1}}', "x.json"), tmp_path)
    assert "cannot be read" in refusal(table_of(root, '{"a": ', "x.json"), tmp_path)


# ---------------------------------------------------------------------- features


@pytest.mark.parametrize("splits", [("train", "val"), ("test",), ("train", "test")])
def test_a_bundle_of_features(splits: tuple[str, ...], tmp_path: Path) -> None:
    import torch

    part = BundleSplit(torch.randn(6, 4), torch.arange(6) % 3)
    paths = (("bird", "gull"), ("bird", "auk"), ("fish", "ray"))
    file = tmp_path / "features.safetensors"
    other = BundleSplit(torch.randn(6, 4), torch.arange(6) % 3)
    parts = dict(zip(splits, (part, other), strict=False))
    write_bundle(file, Bundle(("kind", "species"), paths, parts, backbone="b/32"))
    _, card, table = made(file, tmp_path)
    assert card.levels == {"kind": 2, "species": 3}
    assert card.root == file
    assert set(sizes(table)) == {"test" if name == "val" else name for name in splits}
