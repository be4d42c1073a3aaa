"""`hierfit data new` on folders, data sets of the hub and files of features: a card that loads and fits at once."""

from __future__ import annotations

import shutil
import sys
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from hierfit.cli import main
from hierfit.data.bundle import Bundle, BundleSplit, write_bundle
from hierfit.data.card import load_card
from hierfit.data.images import open_image
from hierfit.data.samples import Split
from hierfit.data.splits import Shares
from hierfit.data.table import read_table
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.check.audit import audit
from hierfit.tools.new.new import print_written
from tests.unit.tools.made import Pics, labels, leaves, made, many, refusal, sizes

Save = Callable[[Path, int], None]


def test_folders_of_splits(root: Path, tmp_path: Path) -> None:
    written, card, table = made(root, tmp_path, levels=("family", "species"))
    assert card.levels == {"family": 2, "species": 4}
    assert sizes(table) == {"train": 24, "val": 12, "test": 16}
    assert labels(table)["val/dog/fox/1.png"] == "dog/fox"
    assert card.splits["val"].images == 12
    assert written.found.left_out == {}
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
    assert sizes(table) == {"train": 30, "val": 5, "test": 9}
    assert written.found.left_out == {"stray.png": "in no folder of a class"}
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

    def drawn(shares: Shares, keys: Sequence[str], nodes: torch.Tensor) -> dict[str, Split]:
        return shares.of({"all": Split(tuple(keys), nodes)}, "all")

    one, other = drawn(Shares(seed=0), keys, nodes), drawn(Shares(seed=1), keys, nodes)
    assert {name: len(split) for name, split in one.items()} == {"train": 70, "val": 10, "test": 20}
    assert one["test"].keys != other["test"].keys
    more = drawn(Shares(seed=0), (*keys, "c/1", "c/2"), torch.cat([nodes, torch.tensor([2, 2])]))
    for name, split in one.items():
        assert split.keys == tuple(key for key in more[name].keys if key[0] != "c")
        assert split.nodes.tolist() == [int(key[0] == "b") for key in split.keys]
    # A lone picture is trained on, a second tested on, a third validated on.
    for n, expected in ((1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1))):
        few = drawn(Shares(), [str(i) for i in range(n)], torch.zeros(n, dtype=torch.int64))
        assert tuple(len(few[s]) if s in few else 0 for s in ("train", "val", "test")) == expected
    assert "val" not in drawn(Shares(val=0), keys, nodes)
    with pytest.raises(UserError, match="leave nothing to train on"):
        Shares(val=0.5, test=0.5)
    with pytest.raises(UserError):
        Shares(val=0.0, test=0.0)


def test_damaged_and_double_pictures_are_left_out(root: Path, tmp_path: Path, save_picture: Save) -> None:
    (root / "train/cat/lion/0.png").write_bytes(b"\x89PNG")
    shutil.copy(root / "train/cat/lion/1.png", root / "test/cat/lion/copy.png")
    shutil.copy(root / "train/dog/fox/1.png", root / "train/dog/wolf/clash.png")
    written, card, table = made(root, tmp_path)
    assert written.found.left_out == {
        "train/cat/lion/0.png": "cannot be read",
        "train/cat/lion/1.png": "the same as test/cat/lion/copy.png",
        "train/dog/fox/1.png": "the same picture has two labels: train/dog/wolf/clash.png",
        "train/dog/wolf/clash.png": "the same picture has two labels: train/dog/fox/1.png",
    }
    assert dict(card.leave_out) == dict(written.found.left_out)
    assert len(table.splits["train"]) == 21
    (root / "train/cat/lion/1.png").unlink()
    with pytest.raises(UserError, match=r"leave_out: there is no train/cat/lion/1.png"):
        read_table(card, root)


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


def test_train_and_val_alone_and_a_draw_of_validation(pics: Pics, tmp_path: Path) -> None:
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


def test_one_class_in_several_spellings(pics: Pics, tmp_path: Path) -> None:
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


@pytest.mark.parametrize("readable", [True, False])
def test_kinds_that_are_not_read_are_counted(
    readable: bool, pics: Pics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """With pillow-heif a damaged HEIC is a picture that cannot be read; without it, and others always, passed over."""
    root = pics(*many("data/newt/{}.png", 4), *many("data/fish/{}.png", 4)) / "data"
    for path in ("newt/a.HEIC", "fox/b.HEIC", "fox/c.HEIC", "newt/d.cr2"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    (root / "newt/bare").write_bytes((root / "newt/0.png").read_bytes())
    if not readable:
        monkeypatch.setattr("hierfit.data.images.EXTENSIONS", frozenset({".png", ".jpg"}))
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
    assert ("newt/a.HEIC" in written.found.left_out) == readable
    main(["data", "check", str(written.path)])
    with pytest.raises(SystemExit):
        main(["data", "check", str(written.path), "--strict"])
    out = capsys.readouterr().out
    assert "files are passed over" in out
    assert ("no picture that ends in .heic can be read (3)" in " ".join(out.split())) == readable


def test_nearly_black_pictures_are_a_warning(pics: Pics, tmp_path: Path) -> None:
    root = pics(*many("newt/{}.png", 4), *many("fish/{}.png", 4))
    dark = np.random.default_rng(0).integers(0, 12, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(dark).save(root / "newt/dark.png")
    written, *_ = made(root, tmp_path)
    assert any(
        "nearly black" in line and "newt/dark.png" in line
        for line in audit(load_card(str(written.path)), None).warnings
    )


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
    assert sizes(table) == {"train": 12, "test": 6}
    assert labels(table)["test/4"] == "bird/gull"
    assert table.images is not None
    assert table.images.load("train/3").size == (9, 9)
    assert table.images.stamp("train/3") != table.images.stamp("train/4")


def test_a_data_set_of_one_split(hub: Path, tmp_path: Path) -> None:
    _, card, table = made(hub / "single", tmp_path, label=("label",))
    assert list(card.levels.values()) == [3]
    assert sizes(table) == {"train": 9, "val": 3, "test": 3}


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


@pytest.mark.parametrize("splits", [("train", "val"), ("test",), ("train", "test"), ("train16", "test")])
def test_a_bundle_of_features(splits: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    part = BundleSplit(torch.randn(6, 4), torch.arange(6) % 3)
    paths = (("bird", "gull"), ("bird", "auk"), ("fish", "ray"))
    file = tmp_path / "features.safetensors"
    other = BundleSplit(torch.randn(6, 4), torch.arange(6) % 3)
    parts = dict(zip(splits, (part, other), strict=False))
    write_bundle(file, Bundle(("kind", "species"), paths, parts, backbone="b/32"))
    written, card, table = made(file, tmp_path)
    assert card.levels == {"kind": 2, "species": 3}
    assert card.root == file
    print_written(written)  # a file with ready draws only has no "train"
    assert "hierfit data check" in capsys.readouterr().out
    assert set(sizes(table)) == {"test" if name == "val" else name for name in splits}
