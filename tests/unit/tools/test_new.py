"""`hierfit data new`: a card for whatever lies there, which loads and fits at once."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hierfit.cli import main
from hierfit.data.splits import Draw
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from tests.unit.tools.made import labels, made, refusal

Save = Callable[[Path, int], None]


# ---------------------------------------------------------------------- folders


def test_folders_of_splits(root: Path, tmp_path: Path) -> None:
    written, card, table = made(root, tmp_path, levels=("family", "species"))
    assert card.levels == {"family": 2, "species": 4}
    assert {name: len(split) for name, split in table.splits.items()} == {"train": 24, "val": 12, "test": 16}
    assert labels(table)["val/dog/fox/1.png"] == "dog/fox"
    assert card.splits["val"].images == 12
    assert written.left_out == {}
    assert all("#" in line or ":" in line for line in written.path.read_text().splitlines() if line)


def test_folders_that_do_not_nest_find_their_place_in_a_given_tree(tmp_path: Path, save_picture: Save) -> None:
    root = tmp_path / "pictures"
    for seed, leaf in enumerate(["gull", "puffin", "jay"]):
        for n in range(4):
            save_picture(root / leaf / f"{n}.png", 10 * seed + n)
    written, _, _ = made(root, tmp_path)
    assert any("--taxonomy FILE" in line for line in written.found.remarks)
    tree = Taxonomy.from_paths([("sea", "gull"), ("sea", "puffin"), ("land", "jay")])
    written, card, table = made(root, tmp_path, taxonomy=tree)
    assert written.found.layout["labels"] == "name"
    assert list(card.levels.values()) == [2, 3]
    assert set(labels(table).values()) == {"sea/gull", "sea/puffin", "land/jay"}
    _, card, _ = made(root, tmp_path, taxonomy=tree, levels=("where", "bird"))
    assert card.levels == {"where": 2, "bird": 3}
    with pytest.raises(UserError, match="--levels names 1 levels"):
        made(root, tmp_path, taxonomy=tree, levels=("bird",))


def test_nested_folders_without_splits_are_a_ragged_tree(tmp_path: Path, save_picture: Save) -> None:
    root, seed = tmp_path / "My Pictures!", 0
    leaves = ["Birds/Gulls/RedLeggedKittiwake", "Birds/Gulls/herring_gull", "Birds/Blue-Jay", "Moths"]
    for leaf in leaves:
        for n in range(10):
            save_picture(root / leaf / f"{n}.png", seed := seed + 1)
    for n in range(4):
        save_picture(root / "Birds/Gulls" / f"some gull {n}.png", seed := seed + 1)
    save_picture(root / "stray.png", seed := seed + 1)
    (root / ".hidden").mkdir()
    save_picture(root / ".hidden/x.png", seed)
    (root / "Birds/readme.txt").write_text("no picture")
    written, card, table = made(root, tmp_path)
    assert card.levels == {"level1": 2, "level2": 2, "class": 2}
    assert {name: len(split) for name, split in table.splits.items()} == {"train": 30, "val": 5, "test": 9}
    assert written.left_out == {"stray.png": "in no folder of a class"}
    assert card.names == {"RedLeggedKittiwake": "Red Legged Kittiwake", "Blue-Jay": "Blue Jay"}
    known = labels(table)
    assert known["Birds/Gulls/RedLeggedKittiwake/3.png"] == "Birds/Gulls/Red Legged Kittiwake"
    assert known["Birds/Gulls/some gull 0.png"] == "Birds/Gulls"
    assert known["Moths/0.png"] == "Moths"
    assert set(known) == {p.relative_to(root).as_posix() for p in root.rglob("[!.]*.png")} - {
        "stray.png",
        ".hidden/x.png",
    }
    assert any("4 pictures lie beside folders of finer classes" in line for line in written.found.remarks)


def test_links_in_a_circle_end(tmp_path: Path, save_picture: Save) -> None:
    for n in range(4):
        save_picture(tmp_path / f"pics/a/{n}.png", n)
        save_picture(tmp_path / f"elsewhere/{n}.png", 10 + n)
    (tmp_path / "pics/a/up").symlink_to(tmp_path / "pics")
    (tmp_path / "pics/b").symlink_to(tmp_path / "elsewhere")
    _, _, table = made(tmp_path / "pics", tmp_path)
    assert sorted(labels(table)) == [f"{name}/{n}.png" for name in "ab" for n in range(4)]


def test_the_draw_is_by_seed_and_survives_a_new_class(tmp_path: Path, save_picture: Save) -> None:
    keys = tuple(f"{c}/{n}" for c in "ab" for n in range(50))
    nodes = torch.arange(2).repeat_interleave(50)
    one, other = Draw(seed=0).splits(keys, nodes), Draw(seed=1).splits(keys, nodes)
    assert {name: len(split) for name, split in one.items()} == {"train": 70, "val": 10, "test": 20}
    assert one["test"].keys != other["test"].keys
    more = Draw(seed=0).splits((*keys, "c/1", "c/2"), torch.cat([nodes, torch.tensor([2, 2])]))
    for name, split in one.items():
        assert split.keys == tuple(key for key in more[name].keys if key[0] != "c")
        assert split.nodes.tolist() == [int(key[0] == "b") for key in split.keys]
    # A lone picture is trained on, a second tested on, a third validated on.
    for n, sizes in ((1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1))):
        drawn = Draw().splits([str(i) for i in range(n)], torch.zeros(n, dtype=torch.int64))
        assert tuple(len(drawn[s]) if s in drawn else 0 for s in ("train", "val", "test")) == sizes
    assert "val" not in Draw(val=0).splits(keys, nodes)
    with pytest.raises(UserError, match="leave nothing to train on"):
        Draw(val=0.5, test=0.5)
    with pytest.raises(UserError):
        Draw(val=0.0, test=0.0)


def test_damaged_and_double_pictures_are_left_out(root: Path, tmp_path: Path, save_picture: Save) -> None:
    (root / "train/cat/lion/0.png").write_bytes(b"\x89PNG")
    shutil.copy(root / "train/cat/lion/1.png", root / "test/cat/lion/copy.png")
    shutil.copy(root / "train/dog/fox/1.png", root / "train/dog/wolf/clash.png")
    written, card, table = made(root, tmp_path)
    assert written.left_out == {
        "train/cat/lion/0.png": "cannot be read",
        "train/cat/lion/1.png": "the same as test/cat/lion/copy.png",
        "train/dog/fox/1.png": "the same picture has two labels: train/dog/wolf/clash.png",
        "train/dog/wolf/clash.png": "the same picture has two labels: train/dog/fox/1.png",
    }
    assert dict(card.leave_out) == dict(written.left_out)
    assert len(table.splits["train"]) == 21
    (root / "train/cat/lion/1.png").unlink()
    with pytest.raises(UserError, match=r"leave_out: there is no train/cat/lion/1.png"):
        read_table(card, root)


def test_validation_serves_where_nothing_else_is_to_test_on(root: Path, tmp_path: Path) -> None:
    shutil.rmtree(root / "test")
    (root / "val").rename(root / "Validation")
    written, _, table = made(root, tmp_path)
    assert sorted(table.splits) == ["test", "train"]
    assert len(table.splits["test"]) == 12
    assert any("Validation serves" in line for line in written.found.remarks)
    shutil.rmtree(root / "Validation")
    _, _, table = made(root, tmp_path / "again")
    assert len(table.splits["train"]) < 24
    assert labels(table)["train/cat/lion/0.png"] == "cat/lion"


def test_names_that_would_collide_stay(tmp_path: Path, save_picture: Save) -> None:
    for i, name in enumerate(("BlueJay", "Blue Jay", "yes", "1", "null", "a: b #c", "Ünïcode 鳥", 'quo"te', "-x")):
        for n in range(3):
            save_picture(tmp_path / "odd" / name / f"{n}.png", 10 * i + n)
    _, card, table = made(tmp_path / "odd", tmp_path)
    assert "BlueJay" not in card.names
    assert set(table.taxonomy.names) == {
        "BlueJay",
        "Blue Jay",
        "yes",
        "1",
        "null",
        "a: b #c",
        "Ünïcode 鳥",
        'quo"te',
        "x",
    }


def test_nothing_to_make_a_card_of(tmp_path: Path, save_picture: Save) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no picture" in refusal(empty, tmp_path)
    save_picture(empty / "x.png", 0)
    assert "lies in the folder of a class" in refusal(empty, tmp_path)
    assert "there is no folder" in refusal(tmp_path / "nowhere", tmp_path)
    for split in ("Train", "test"):
        save_picture(tmp_path / "high" / "data" / split / "cat/x.png", 2)
    assert "the splits Train, test lie deeper, in" in refusal(tmp_path / "high", tmp_path)
    save_picture(empty / "a/b/x.png", 1)
    assert "--levels names 1 levels, but the labels are 2 deep" in refusal(empty, tmp_path, levels=("class",))


# ---------------------------------------------------------------------- tables


def write_csv(path: Path, header: str, rows: Sequence[Sequence[str]], sign: str = ",") -> None:
    path.write_text("\n".join([header.replace(",", sign), *(sign.join(row) for row in rows)]), encoding="utf-8")


def listed(root: Path) -> list[tuple[str, str, str, str]]:
    """Path, family, species and split of every picture."""
    keys = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.png"))
    return [(key, *key.split("/")[1:3], key.split("/")[0]) for key in keys]  # type: ignore[misc]


def test_a_table_with_a_column_for_each_level(root: Path, tmp_path: Path) -> None:
    number = {"lion": "0", "tiger": "1", "wolf": "2", "fox": "3"}
    means = {"train": "training", "val": "valid", "test": "TEST"}
    rows = [(f"{i}", sp, number[sp], key, fam, means[s], "0.5") for i, (key, fam, sp, s) in enumerate(listed(root))]
    rows[0] = (*rows[0][:1], "", "", *rows[0][3:])  # known to the family only
    write_csv(root / "list.csv", "id,species,species_id,file,family,subset,score", rows, ";")
    written, card, table = made(root, tmp_path)
    assert card.levels == {"level1": 2, "class": 4} or list(card.levels.values()) == [2, 4]
    options = card.layout.options
    assert options["label"] == ("family", "species")
    assert options["delimiter"] == ";"
    assert options["splits"] == {"training": "train", "valid": "val", "TEST": "test"}
    known = labels(table)
    assert known["train/dog/fox/0.png"] == "dog/fox"
    assert known[rows[0][3]] == rows[0][4]
    assert len(known) == 52
    assert any("not used: 'id', 'species_id', 'score'" in line for line in written.found.remarks)


def test_a_label_column_and_a_tree(root: Path, tmp_path: Path) -> None:
    for split in ("train", "val", "test"):
        shutil.move(root / split, tmp_path / "all" / "pics" / split)
    rows = [(f"{s}/{fam}/{sp}/{Path(key).name}", sp) for key, fam, sp, s in listed(tmp_path / "all" / "pics")]
    table_path = tmp_path / "all" / "labels.tsv"
    write_csv(table_path, "image,animal", rows, "\t")
    _, card, table = made(tmp_path / "all", tmp_path)
    assert list(card.levels.values()) == [4]
    assert card.layout.options["images"] == "pics"
    assert card.layout.options["draw"] == Draw()
    tree = load_tree(tmp_path)
    _, card, table = made(table_path, tmp_path / "again", taxonomy=tree)
    assert list(card.levels.values()) == [2, 4]
    assert labels(table)["train/dog/fox/0.png"] == "dog/fox"
    assert "there is no column 'animl' – did you mean 'animal'?" in refusal(
        table_path, tmp_path / "3", label=("animl",)
    )
    assert "--path-column: there is no column" in refusal(table_path, tmp_path / "3", path="img")


def load_tree(tmp_path: Path):  # type: ignore[no-untyped-def]
    from hierfit.taxonomy.readers import read_taxonomy

    (tmp_path / "tree.csv").write_text("family,species\ncat,lion\ncat,tiger\ndog,wolf\ndog,fox\n")
    return read_taxonomy(tmp_path / "tree.csv")


def test_paths_in_one_column_without_a_header(root: Path, tmp_path: Path) -> None:
    rows = [(key, f"{fam}/{sp}") for key, fam, sp, _ in listed(root)]
    (root / "manifest.csv").write_text("\n".join(",".join(row) for row in rows))
    _, card, table = made(root, tmp_path)
    assert list(card.levels.values()) == [2, 4]
    assert labels(table)["train/dog/fox/0.png"] == "dog/fox"


@pytest.mark.parametrize("suffix", ["jsonl", "csv"])
def test_the_hubs_image_folder_with_metadata(root: Path, tmp_path: Path, suffix: str) -> None:
    for split in ("train", "val", "test"):
        rows = [(key.partition("/")[2], fam, sp) for key, fam, sp, s in listed(root) if s == split]
        if suffix == "csv":
            write_csv(root / split / "metadata.csv", "file_name,family,species", rows)
        else:
            lines = [json.dumps({"file_name": f, "taxon": [a, b] if b != "fox" else [a]}) for f, a, b in rows]
            (root / split / "metadata.jsonl").write_text("\n".join(lines))
    (root / "val").rename(root / "validation")
    _, _, table = made(root, tmp_path)
    assert {name: len(split) for name, split in table.splits.items()} == {"train": 24, "val": 12, "test": 16}
    known = labels(table)
    assert known["train/cat/lion/0.png"] == "cat/lion"
    # A list is a path, and "dog" with nothing below it is a leaf where no wolf is: here it is an inner node.
    assert known["validation/dog/fox/0.png"] == ("dog/fox" if suffix == "csv" else "dog")


def test_tables_of_class_numbers(root: Path, tmp_path: Path) -> None:
    """The Grocery Store set's own form: a table a split, no header, a fine and a coarse number."""
    number = {"lion": 0, "tiger": 1, "wolf": 2, "fox": 3}
    for split in ("train", "val", "test"):
        lines = [f"{key}, {number[sp]}, {number[sp] // 2}" for key, _, sp, s in listed(root) if s == split]
        (root / f"{split}.txt").write_text("\n".join(lines))
    written, card, table = made(root, tmp_path)
    assert list(card.levels.values()) == [2, 4]
    assert labels(table)["train/dog/fox/0.png"] == "1/3"
    assert any("The labels are numbers" in line for line in written.found.remarks)


def test_tables_that_cannot_be_guessed(root: Path, tmp_path: Path) -> None:
    (root / "labels.csv").write_text("path,label\nnowhere.png,cat\n")
    assert "holds paths of pictures that are there" in refusal(root, tmp_path)
    rows = [(key, f"n{i}") for i, (key, *_) in enumerate(listed(root))]
    write_csv(root / "labels.csv", "path,caption", rows)
    assert "no column looks like a label" in refusal(root, tmp_path)
    write_csv(root / "data.csv", "path,caption", rows)
    assert "several tables that name pictures" in refusal(root, tmp_path)
    (root / "labels.csv").write_bytes(b"path,label\n\x00,x\n")
    assert "holds a zero byte" in refusal(root / "labels.csv", tmp_path)
    assert "neither a folder nor a table" in refusal(root / "train/cat/lion/0.png", tmp_path)


# ---------------------------------------------------------------------- the hub's datasets


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 3 classes in two splits, saved and as parquet, and one of one split."""
    datasets = pytest.importorskip("datasets")
    folder = tmp_path_factory.mktemp("hub")
    rng = np.random.default_rng(0)

    def part(n: int) -> object:
        pictures = [Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)) for _ in range(n)]
        columns = {
            "image": pictures,
            "label": [i % 3 for i in range(n)],
            "family": ["bird" if i % 3 else "fish" for i in range(n)],
        }
        kinds = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["cod", "gull", "owl"])}
        return datasets.Dataset.from_dict(columns, datasets.Features({**kinds, "family": datasets.Value("string")}))

    both = datasets.DatasetDict({"train": part(12), "test": part(6)})
    both.save_to_disk(str(folder / "saved"))
    (folder / "parquet/data").mkdir(parents=True)
    for name, one in both.items():
        one.to_parquet(str(folder / f"parquet/data/{name}-00000-of-00001.parquet"))
    part(15).save_to_disk(str(folder / "single"))  # type: ignore[attr-defined]
    return folder


@pytest.mark.parametrize("form", ["saved", "parquet"])
def test_a_data_set_of_the_hub(hub: Path, tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIERFIT_CACHE", str(tmp_path / "cache"))
    _, card, table = made(hub / form, tmp_path)
    assert list(card.levels.values()) == [2, 3]
    assert {name: len(split) for name, split in table.splits.items()} == {"train": 12, "test": 6}
    assert labels(table)["test/4"] == "bird/gull"
    assert table.images is not None
    assert table.images.load("train/3").size == (9, 9)
    assert table.images.stamp("train/3") != table.images.stamp("train/4")


def test_a_data_set_of_one_split(hub: Path, tmp_path: Path) -> None:
    _, card, table = made(hub / "single", tmp_path, label=("label",))
    assert list(card.levels.values()) == [3]
    assert {name: len(split) for name, split in table.splits.items()} == {"train": 9, "val": 3, "test": 3}


def test_without_datasets_the_message_says_how_to_install_it(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert 'pip install -c constraints.txt "hierfit[hf]"' in refusal(hub / "saved", tmp_path)


def test_a_damaged_data_set_is_named(hub: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(hub / "saved", broken)
    for path in broken.rglob("*.arrow"):
        path.write_bytes(path.read_bytes()[:200])
    assert "this data set cannot be read" in refusal(broken, tmp_path)
    (tmp_path / "p").mkdir()
    (tmp_path / "p/train.parquet").write_bytes(b"PAR1 no")
    assert "this data set cannot be read" in refusal(tmp_path / "p", tmp_path)


# ---------------------------------------------------------------------- the command


def test_the_command_writes_a_card_and_says_what_next(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    main(["data", "new", "pictures", "--levels", "family,species", "--kind", "animal"])
    text = capsys.readouterr().out
    assert "Written: pictures.yaml and pictures.csv" in text
    assert "hierfit data check pictures.yaml\n" in text
    assert "--data.shots_policy all" in text  # six images a leaf
    assert yaml.safe_load(Path("pictures.yaml").read_text())["templates"]["species"] == [
        "a photo of a {name}, a kind of animal."
    ]
    main(["data", "check", "pictures.yaml"])
    before = Path("pictures.yaml").read_text()
    with pytest.raises(SystemExit):
        main(["data", "new", "pictures"])
    assert "would be overwritten" in capsys.readouterr().err
    assert Path("pictures.yaml").read_text() == before
    main(["data", "new", "pictures", "--force", "--no-pictures"])
    assert Path("pictures.yaml").read_text() != before
    Path("data_cards").mkdir()
    main(["data", "new", "pictures"])
    assert "hierfit data check pictures\n" in capsys.readouterr().out
