"""`hierfit data check`: what it finds, and that it finds nothing where there is nothing."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from hierfit.cli import main
from hierfit.data.card import load_card
from hierfit.data.images import Files
from hierfit.errors import UserError
from hierfit.tools.check.audit import Audit, audit
from hierfit.tools.check.duplicates import RADIUS, exact_groups, nearest_lookalikes
from hierfit.tools.check.pictures import look, perceptual_hash
from hierfit.tools.check.report import print_audit

WriteCard = Callable[..., str]


def found(card: str, root: Path | None, workers: int = 1) -> Audit:
    return audit(load_card(card), None if root is None else str(root), workers)


def picture(seed: int, side: int = 96) -> Image.Image:
    """Smooth blobs, as a photo has them; noise would look alike to no hash."""
    cells = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((side, side), Image.Resampling.BICUBIC)


# ---------------------------------------------------------------------- duplicates


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 40), st.integers(1, 3))
def test_near_duplicates_equal_a_search_of_all_pairs(seed: int, n: int, splits: int) -> None:
    rng = np.random.default_rng(seed)
    hashes = np.repeat(rng.integers(0, 1 << 16, (3, 8), dtype=np.uint16), 14, axis=0)[:n]
    for row in hashes:  # within and beyond the radius
        for bit in rng.integers(0, 128, rng.integers(0, 7)):
            row[bit // 16] ^= np.uint16(1 << (bit % 16))
    thumbs = np.repeat(rng.integers(0, 256, (2, 16, 16), dtype=np.uint8), 20, axis=0)[rng.permutation(40)[:n]]
    split = rng.integers(0, splits, n)
    near = nearest_lookalikes(hashes, thumbs, split, splits)
    bits = np.unpackbits(np.ascontiguousarray(hashes).view(np.uint8), axis=1).astype(int)
    likeness = np.corrcoef(thumbs.reshape(n, -1))
    for i in range(n):
        for s in range(splits):
            others = [
                (int(np.abs(bits[i] - bits[j]).sum()), j)
                for j in range(n)
                if j != i and split[j] == s and likeness[i, j] > 0.97
            ]
            best = min(others, default=(RADIUS + 1, -1))
            if best[0] <= RADIUS:
                assert (near.distance[i, s], near.partner[i, s]) == best
            else:
                assert near.partner[i, s] == -1


def test_exact_groups_ignore_what_cannot_be_read() -> None:
    content = np.array([[1] * 16, [0] * 16, [1] * 16, [2] * 16, [0] * 16, [2] * 16], np.uint8).view("V16")[:, 0]
    readable = np.array([True, False, True, True, False, True])
    assert [group.tolist() for group in exact_groups(content, readable)] == [[0, 2], [3, 5]]
    assert exact_groups(content[:0], readable[:0]) == []


def test_the_hash_survives_storing_again_and_tells_pictures_apart() -> None:
    def distance(a: Image.Image, b: Image.Image) -> int:
        return sum(int(x).bit_count() for x in perceptual_hash(a) ^ perceptual_hash(b))

    image, buffer = picture(0), io.BytesIO()
    image.resize((48, 48)).save(buffer, "JPEG", quality=40)
    assert distance(image, Image.open(buffer)) <= RADIUS
    assert distance(image, image.point(lambda v: v * 0.8)) <= RADIUS
    assert min(distance(image, picture(seed)) for seed in range(1, 40)) > 3 * RADIUS


# ---------------------------------------------------------------------- the whole


def test_sound_data_have_no_problems(root: Path, write_card: WriteCard) -> None:
    report = found(write_card(), root)
    assert report.problems == []
    assert report.pictures is not None
    assert len(report.pictures.keys) == 52
    assert report.kinds == {"PNG RGB": 52}
    assert report.sizes == {"shorter side": (10, 10, 10), "longer side": (12, 12, 12)}
    assert report.splits["test"].leaves == 4
    assert report.splits["train"].fewest == report.splits["train"].most == 6
    assert report.near == []
    assert any("52 pictures are smaller than 32 pixels" in line for line in report.warnings)


def test_everything_is_found_at_once(root: Path, write_card: WriteCard) -> None:
    (root / "train/cat/lion/0.png").write_bytes(b"")
    (root / "train/cat/lion/1.png").write_bytes((root / "train/cat/lion/1.png").read_bytes()[:100])
    shutil.copy(root / "train/cat/lion/2.png", root / "test/cat/lion/2.png")  # leak
    shutil.copy(root / "val/dog/fox/0.png", root / "val/dog/wolf/0.png")  # two labels, and twice in val
    (root / "train/cat/lynx").mkdir()
    shutil.copy(root / "train/cat/lion/3.png", root / "train/cat/lynx/0.png")
    shutil.copy(root / "train/dog/fox/3.png", root / "train/dog/whatever.png")
    picture(1).save(root / "train/dog/fox/4.png")
    picture(1, 64).save(root / "test/dog/fox/2.jpg")  # near leak
    Image.new("RGB", (40, 40), "red").save(root / "test/dog/fox/3.png")
    report = found(write_card(), root)
    text = "\n".join(report.problems)
    assert "train: the card says 24 images, found 26" in text
    assert "there is no 'lynx' below 'cat'" in text
    assert "train: cannot be used: train/cat/lion/0.png" in text
    assert "train: cannot be used: train/cat/lion/1.png" in text
    assert "leak: 1 picture is in both train and test: train/cat/lion/2.png = test/cat/lion/2.png" in text
    assert "the same picture under two labels: val/dog/fox/0.png is dog/fox, val/dog/wolf/0.png is dog/wolf" in text
    warnings = "\n".join(report.warnings)
    assert "val: 1 picture is there more than once: val/dog/fox/0.png = val/dog/wolf/0.png" in warnings
    assert "test: 1 picture looks much like one in train, probably a leak: test/dog/fox/2.jpg ~" in warnings
    assert "of one colour only: test/dog/fox/3.png" in warnings
    # An image of an inner node and the same one at a leaf below it do not contradict each other.
    assert "dog/fox, train/dog/whatever.png" not in text
    assert len(report.unreadable) == 2


def test_partial_labels_and_imbalance_are_told(root: Path, write_card: WriteCard, save_picture: Callable) -> None:  # type: ignore[type-arg]
    for n in range(80):
        save_picture(root / f"train/cat/lion/more{n}.png", 1000 + n)
    for n in range(3):
        save_picture(root / f"train/cat/some{n}.png", 2000 + n)
    report = found(write_card(splits=None), root)
    assert report.problems == []
    assert report.splits["train"].partial == {"family": 3}
    assert "train: 3 images are labelled at inner nodes (3 at family)" in report.notes
    assert any("the largest leaf has 86 images, the smallest 6 (14 to 1)" in line for line in report.warnings)
    assert any("only 6 images: to take more shots" in line for line in report.notes)


def test_links_that_leave_the_root_are_told(root: Path, write_card: WriteCard, tmp_path: Path) -> None:
    for name in ("a.png", "folder/b.png"):
        (tmp_path / "elsewhere" / name).parent.mkdir(parents=True, exist_ok=True)
        picture(len(name)).save(tmp_path / "elsewhere" / name)
    (root / "train/cat/lion/link.png").symlink_to(tmp_path / "elsewhere/a.png")
    (root / "train/cat/tiger/inside.png").symlink_to(root / "train/cat/tiger/0.png")
    shutil.rmtree(root / "train/dog/fox")
    (root / "train/dog/fox").symlink_to(tmp_path / "elsewhere/folder")
    report = found(write_card(splits=None), root)
    assert [line for line in report.notes if "link" in line] == [
        "reached through a link that leaves the root: train/cat/lion/link.png",
        "reached through a link that leaves the root: train/dog/fox/b.png",
    ]


def test_odd_kinds_are_named(tmp_path: Path) -> None:
    image = picture(3)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    image.save(tmp_path / "really_png.jpg", "PNG")
    image.convert("CMYK").save(tmp_path / "print.jpg")
    image.quantize(16).save(tmp_path / "palette.png")
    image.save(tmp_path / "moving.gif", save_all=True, append_images=[picture(4)])
    keys = sorted(path.name for path in tmp_path.iterdir())
    seen = look(Files(tmp_path), keys, 1)
    assert dict(zip(keys, seen.kinds.tolist(), strict=True)) == {
        "turned.jpg": "JPEG RGB, turned by EXIF",
        "really_png.jpg": "PNG RGB, named .jpg",
        "print.jpg": "JPEG CMYK",
        "palette.png": "PNG P",
        "moving.gif": "GIF P, first frame of several",
    }
    assert seen.usable.all()


def test_processes_see_what_one_sees(tmp_path: Path) -> None:
    for n in range(70):
        picture(n, 32).save(tmp_path / f"{n:02}.png")
    (tmp_path / "07.png").write_bytes(b"no")
    keys = sorted(path.name for path in tmp_path.iterdir())
    one, two = look(Files(tmp_path), keys, 1), look(Files(tmp_path), keys, 2)
    assert one.faults == two.faults
    assert list(one.faults) == ["07.png"]
    assert (one.facts == two.facts).all()
    some = two.of(["69.png", "07.png"])
    assert some.facts.tobytes() == one.facts[[69, 7]].tobytes()
    assert some.faults == one.faults


def test_drawn_pictures_and_features_are_checked_too(write_card: WriteCard) -> None:
    guide = {"families": 2, "genera": 2, "species": 2}
    layout = {"name": "fieldguide", "guide": guide, "per_leaf": {"train": 2, "test": 1}}
    card = write_card(layout=layout, taxonomy=None, levels={"family": 2, "genus": 4, "species": 8}, splits=None)
    report = found(card, None)
    assert report.problems == []
    assert report.kinds == {"drawn RGB": 24}


# ---------------------------------------------------------------------- the command


def test_the_command_reports_writes_and_fails(
    root: Path, write_card: WriteCard, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card, out = write_card(), tmp_path / "found.json"
    main(["data", "check", card, "--root", str(root), "--json", str(out)])
    text = capsys.readouterr().out
    assert "The data are as animals.yaml says." in text
    assert "52 pictures decoded" in text
    assert json.loads(out.read_text())["ok"] is True
    (root / "test/dog/fox/0.png").unlink()
    with pytest.raises(SystemExit) as exit_code:
        main(["data", "check", card, "--root", str(root), "--json", str(out)])
    assert exit_code.value.code == 1
    assert "test: the card says 16 images, found 15" in capsys.readouterr().out
    facts = json.loads(out.read_text())
    assert facts["ok"] is False
    assert facts["splits"]["test"]["images"] == 15


def test_strict_fails_on_warnings_and_no_data_is_a_problem(
    root: Path, write_card: WriteCard, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as exit_code:
        main(["data", "check", write_card(), "--root", str(root), "--strict"])
    assert exit_code.value.code == 1
    with pytest.raises(SystemExit) as exit_code:
        main(["data", "check", write_card(), "--root", str(root / "nowhere")])
    assert exit_code.value.code == 1
    assert "ask a zoo" in capsys.readouterr().out


def test_a_narrow_terminal_shows_it_all(root: Path, write_card: WriteCard) -> None:
    console = Console(width=60, file=io.StringIO(), record=True)
    print_audit(found(write_card(), root), console)
    lines = console.export_text().splitlines()
    assert any(line.split() == ["images", "a", "leaf,", "median", "6", "3", "4"] for line in lines)
    assert all(len(line.rstrip()) <= 60 for line in lines if str(root) not in line)


def test_a_killed_process_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match="was killed"):
        look(_Deadly(), [str(n) for n in range(70)], 2)


class _Deadly:
    def load(self, key: str) -> Image.Image:
        import os

        os._exit(9)

    def stamp(self, key: str) -> str:
        return key
