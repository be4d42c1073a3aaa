"""`hierfit data new` on tables as people have them: read rightly, or refused with the way out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hierfit.data.splits import Shares
from tests.unit.tools.made import Pics, labels, made, many, refusal, sizes

Cell = Callable[[int], str]


def table_of(root: Path, text: str, name: str = "labels.csv", encoding: str = "utf-8") -> Path:
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(text.encode(encoding))
    return root / name


def rows_of(names: list[str], *cells: Cell, sign: str = ",") -> str:
    return "\n".join(sign.join([name, *(cell(i) for cell in cells)]) for i, name in enumerate(names))


def cycle(*words: str) -> Cell:
    return lambda i: words[i % len(words)]


def test_options_that_name_no_column_and_several_tables(pics: Pics, tmp_path: Path) -> None:
    names = many("im/{}.png", 12)
    root = pics(*names)
    file = table_of(root, "image,animal\n" + rows_of(names, cycle("a", "b")))
    assert "no column 'animl' – did you mean 'animal'?" in refusal(file, tmp_path, label=("animl",))
    assert "--path-column: there is no column" in refusal(file, tmp_path, path="img")
    assert "--split-column: there is no column" in refusal(file, tmp_path, split="set")
    assert "'animal' holds what is no split: a, b" in refusal(file, tmp_path, split="animal")
    table_of(root, file.read_text(), "data.csv")
    assert "several tables that name pictures" in refusal(root, tmp_path)
    assert "neither a folder nor a table" in refusal(root / names[0], tmp_path)


def test_a_folder_with_a_table_of_bare_names(pics: Pics, tmp_path: Path) -> None:
    """Its folders of pictures are no classes, though a table of other things beside them would not say so."""
    root = pics(*(f"part_{i % 2}/ISIC_{i:03}.png" for i in range(12)))
    text = "lesion,image_id,dx,age,place\n" + "\n".join(
        f"L{i // 2},ISIC_{i:03},{'ab'[i // 2 % 2]},{30 + i % 5}.0,place {i % 6}" for i in range(12)
    )
    table_of(root, text, "HAM_metadata.csv")
    assert set(labels(made(root, tmp_path)[2]).values()) == {"a", "b"}
    table_of(root, "id,name\n0,x\n1,y\n", "HAM_metadata.csv")
    assert set(labels(made(root, tmp_path)[2]).values()) == {"part_0", "part_1"}


def test_names_that_several_pictures_have(pics: Pics, tmp_path: Path) -> None:
    """The folder stands in another column; where none says it, nothing is guessed."""
    names = [f"im/{c}/{i}.png" for c in "abc" for i in range(5)]
    root = pics(*names)
    text = "file,kind\n" + "\n".join(f"{Path(name).name},{name[3]}" for name in names)
    assert labels(made(table_of(root, text), tmp_path)[2]) == {name: name[3] for name in names}
    other = text.replace(",a", ",x").replace(",b", ",y").replace(",c", ",z")
    assert "fit several pictures alike" in refusal(table_of(root, other), tmp_path)


def test_rows_that_are_left_out_are_said(pics: Pics, tmp_path: Path) -> None:
    """`a/9.png` is missing; that `b/9.png` is there must not make it that picture. `b/1.png` has two labels."""
    names = [*many("a/{}.png", 9), *many("b/{}.png", 10)]
    rows = [*(f"{name},{name[0]}" for name in ["a/9.png", *names]), "a/0.png,a", "b/1.png,a", "b/2.png,"]
    written, _, table = made(table_of(pics(*names), "picture,label\n" + "\n".join(rows)), tmp_path)
    assert labels(table) == {name: name[0] for name in names if name != "b/1.png"}
    remarks = "\n".join(written.found.remarks)
    assert "1 row of a picture that is not there: a/9.png" in remarks
    assert "another label or split: b/1.png" in remarks
    assert "1 row without a label: b/2.png" in remarks


def test_absolute_paths_of_pictures_elsewhere(pics: Pics, tmp_path: Path) -> None:
    names = many("im/{}.png", 8)
    root = pics(*names)
    text = "picture,label\n" + rows_of([str(root / name) for name in names], cycle("a", "b"))
    _, card, table = made(table_of(tmp_path / "lists", text), tmp_path)
    assert card.root == root / "im"
    assert labels(table)["3.png"] == "b"


# ---------------------------------------------------------------------- splits, and the data's own table


def test_a_plain_table_stays_the_datas_own(root: Path, tmp_path: Path) -> None:
    """Other delimiter, names of splits, a folder that paths start from: the layout says so, and no copy is made."""
    keys = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    means = {"train": "training", "val": "valid", "test": "TEST"}
    rows = [[str(i), sp, key, fam, means[split], "0.5"]
            for i, key in enumerate(keys) for split, fam, sp, _ in [key.split("/")]]  # fmt: skip
    rows[0][1] = ""  # known to the family only
    table_of(
        root.parent, "\n".join(map(";".join, [["id", "species", "file", "family", "subset", "score"], *rows])), "a.csv"
    )
    written, _, table = made(root.parent / "a.csv", tmp_path)
    assert {k: v for k, v in written.found.layout.items() if k != "name"} == {
        "file": "a.csv", "images": root.name, "path": "file", "label": ["family", "species"], "split": "subset",
        "splits": {"training": "train", "valid": "val", "TEST": "test"}, "delimiter": ";",
    }  # fmt: skip
    assert [file.name for file in written.files] == ["mine.yaml", "mine.csv"]
    assert labels(table)["train/dog/fox/0.png"] == "dog/fox"
    assert labels(table)[keys[0]] == keys[0].split("/")[1]
    assert any("not used: 'id', 'score'" in line for line in written.found.remarks)


@pytest.mark.parametrize("form", ["metadata.csv", "metadata.jsonl", "lists of numbers"])
def test_a_table_for_each_split(form: str, root: Path, tmp_path: Path) -> None:
    """The hub's image folders; and the Grocery Store set's own form: no header, a fine and a coarse number."""
    number = {"lion": 0, "tiger": 1, "wolf": 2, "fox": 3}
    for split in ("train", "val", "test"):
        keys = sorted(p.relative_to(root / split).as_posix() for p in (root / split).rglob("*.png"))
        cells = [key.split("/")[:2] for key in keys]
        if form == "metadata.csv":
            text = "file_name,family,species\n" + rows_of(keys, lambda i, cells=cells: ",".join(cells[i]))  # type: ignore[misc]
        elif form == "metadata.jsonl":
            lines = [
                {"file_name": k, "taxon": [a, b] if b != "fox" else [a]} for k, (a, b) in zip(keys, cells, strict=True)
            ]
            text = "\n".join(map(json.dumps, lines))
        else:
            numbers = [number[b] for _, b in cells]
            text = "\n".join(f"{split}/{k}, {n}, {n // 2}" for k, n in zip(keys, numbers, strict=True))
        table_of(root, text, f"{split}.txt" if form == "lists of numbers" else f"{split}/{form}")
    if form != "lists of numbers":
        (root / "val").rename(root / "validation")
    written, _, table = made(root, tmp_path)
    assert sizes(table) == {"train": 24, "val": 12, "test": 16}
    known = labels(table)
    # A list is a path, and "dog" with nothing below it is a leaf where no wolf is: here it is an inner node.
    assert known["train/dog/fox/0.png"] == {"metadata.csv": "dog/fox", "metadata.jsonl": "dog"}.get(form, "1/3")
    assert "samples" not in written.found.layout


def test_a_competition_whose_test_has_no_labels(pics: Pics, tmp_path: Path) -> None:
    root = pics(*many("train/r{}.png", 12), *many("test/t{}.png", 4))
    table_of(root, "id,breed\n" + rows_of(many("r{}", 12), cycle("a", "b")), "train.csv")
    table_of(root, "id,breed\n" + rows_of(many("t{}", 4), cycle("a")), "sample_submission.csv")
    for text in ("id\nt0\nt1\nt2\nt3\n", "id,size\nt0,9\nt1,9\nt2,9\nt3,9\n"):
        table_of(root, text, "test.csv")
        written, _, table = made(root, tmp_path)
        assert sum(sizes(table).values()) == 12
        assert any("Not used" in line and "test.csv" in line for line in written.found.remarks)


def test_a_given_tree(pics: Pics, tmp_path: Path) -> None:
    from hierfit.taxonomy import Taxonomy

    names = many("pics/{}.png", 12)
    root = pics(*names)
    file = table_of(root, "image\tanimal\n" + rows_of(names, cycle("lion", "wolf"), sign="\t"), "labels.tsv")
    _, card, _ = made(file, tmp_path)
    assert list(card.levels.values()) == [2]
    assert card.layout.options["draw"] == Shares()
    tree = Taxonomy.from_paths([("cat", "lion"), ("cat", "tiger"), ("dog", "wolf")])
    _, card, table = made(file, tmp_path / "again", taxonomy=tree)
    assert list(card.levels.values()) == [2, 3]
    assert set(labels(table).values()) == {"cat/lion", "dog/wolf"}


# ---------------------------------------------------------------------- JSON


def coco(names: list[str]) -> dict[str, list[object]]:
    kinds = [(3, "gull", "bird"), (5, "auk", "bird"), (9, "ray", "fish"), (11, "eel", "fish")]
    return {
        "images": [{"id": 100 + i, "file_name": name, "width": 9} for i, name in enumerate(names)],
        "annotations": [{"id": i, "image_id": 100 + i, "category_id": kinds[i % 3][0]} for i in range(len(names))],
        "categories": [{"id": i, "name": name, "supercategory": above} for i, name, above in kinds],
    }


def test_coco(pics: Pics, tmp_path: Path) -> None:
    """With annotations in a folder of their own, and as Roboflow has it, in each split's."""
    names = many("{}.png", 12)
    root = pics(*(f"train2017/{name}" for name in names))
    document = coco(names)
    document["annotations"] += [{"id": 99, "image_id": 100, "category_id": 5}, {"image_id": [], "category_id": {}}]
    file = table_of(root, json.dumps(document), "annotations/instances.json")
    written, _, table = made(root, tmp_path)
    assert labels(table)["train2017/1.png"] == "bird/auk"
    assert "train2017/0.png" not in labels(table)
    assert any("eel" in line for line in written.found.remarks)
    assert labels(made(file, tmp_path)[2]) == labels(table)
    file.unlink()
    (root / "train2017").rename(root / "train")
    pics(*(f"valid/{name}" for name in names))
    for place in ("{}/_annotations.coco.json", "annotations/instances_{}.json"):  # the second: the same names in both
        for split in ("train", "valid"):
            table_of(root, json.dumps(coco(names)), place.format(split))
        _, _, table = made(root, tmp_path)
        assert sizes(table) == {"train": 12, "test": 12}
        assert labels(table)["valid/2.png"] == "fish/ray"
        for path in root.rglob("_annotations.coco.json"):
            path.unlink()
    _, _, table = made(root / "annotations/instances_valid.json", tmp_path)
    assert {Path(key).parts[-2:-1] for key in labels(table)} == {("valid",)}


def test_label_studio(pics: Pics, tmp_path: Path) -> None:
    names = many("im/{}.png", 12)
    root = pics(*names)

    def task(i: int, **value: object) -> dict[str, object]:
        result = [{"from_name": "t", "value": {kind: [chosen]}} for kind, chosen in value.items()]
        return {"id": i, "data": {"image": f"/data/upload/7/0a1b2c3d-{i}.png"}, "annotations": [{"result": result}]}

    def read(tasks: object) -> tuple[list[str], dict[str, str]]:
        written, _, table = made(table_of(root, json.dumps(tasks), "export.json"), tmp_path)
        return written.found.remarks, labels(table)

    taxonomy = [["Eukarya", "newt"], ["Eukarya", "frog"], ["Archaea"]]
    _, known = read([task(i, taxonomy=taxonomy[i % 3]) for i in range(12)])
    assert (known["im/1.png"], known["im/2.png"]) == ("Eukarya/frog", "Archaea")
    chosen = [task(i, choices="ab"[i % 2]) for i in range(10)] + [task(10, choices="a", labels="b")]
    unlabelled = {"id": 99, "data": {"image": "/data/local-files/?d=im/11.png"}, "annotations": []}
    remarks, known = read([*chosen, unlabelled])
    assert known["im/3.png"] == "b"
    assert any("1 task has several choices" in line for line in remarks)
    assert any("2 rows without a label" in line for line in remarks)
    minimal = [{"image": f"/data/local-files/?d=im/{i}.png", "choice": "ab"[i % 2], "id": i} for i in range(12)]
    assert read(minimal)[1]["im/3.png"] == "b"
