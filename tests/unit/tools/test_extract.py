"""Bundles from folders, tables and tars: what is read, what is refused, and that a kill costs one part."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from hierfit.cli import main
from hierfit.data.bundle import read_bundle
from hierfit.tools.extract.assemble import Planned, write_streaming
from hierfit.tools.extract.sources import Tars, tar_samples


def picture(seed: int) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, members: Mapping[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven pictures of three species in two genera, one of them known by its genus only, and a broken file."""
    names = ["a/p/0", "a/p/1", "a/q/2", "b/r/3", "b/r/4", "a/5", "b/r/6"]
    for split in ("train", "test"):
        for number, name in enumerate(names):
            path = tmp_path / "pictures" / split / f"{name}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(picture(number))
    (tmp_path / "pictures" / "train" / "a" / "p" / "x.jpg").write_bytes(b"no picture")
    return tmp_path / "pictures"


def extract(source: Path, out: Path, *options: str) -> None:
    main(["features", "extract", str(source), "--out", str(out), "--workers", "0", "--part", "3", *options])


def test_folder_table_and_tar_give_the_same_features(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extract(folder, tmp_path / "folder.safetensors", "--bad", "skip")
    assert "x.jpg: not a picture" in capsys.readouterr().err
    from_folder = read_bundle(tmp_path / "folder.safetensors")
    assert from_folder.paths == (("a", "p"), ("a", "q"), ("b", "r"))
    assert from_folder.node_text is not None
    train = from_folder.splits["train"]
    assert train.features.dtype == torch.float16
    assert sorted(train.labels.tolist()) == [-1, 0, 0, 1, 2, 2, 2]

    rows = [f"{p.relative_to(folder)},{p.parent.relative_to(folder / 'train')}" for p in folder.glob("train/*/*/*.png")]
    (folder / "table.csv").write_text("\n".join(["path,label", *sorted(rows)]), encoding="utf-8")
    extract(folder / "table.csv", tmp_path / "table.safetensors", "--dtype", "float32")
    from_table = read_bundle(tmp_path / "table.safetensors").splits["train"]
    members = {}
    for number, row in enumerate(sorted(rows)):
        path, label = row.split(",")
        members |= {f"s/{number}.png": (folder / path).read_bytes(), f"s/{number}.txt": label.encode()}
    write_tar(tmp_path / "shard-train-0.tar", members)
    extract(tmp_path / "shard-train-0.tar", tmp_path / "tar.safetensors", "--dtype", "float32")
    from_tar = read_bundle(tmp_path / "tar.safetensors").splits["train"]
    assert torch.equal(from_tar.features, from_table.features)
    assert torch.equal(from_tar.labels, from_table.labels)
    whole = {tuple(row) for row in train.features.tolist()}
    assert {tuple(row) for row in from_table.features.half().tolist()} <= whole


def test_a_dry_run_reckons_and_writes_nothing(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.safetensors"
    extract(folder, out, "--dry-run", "--images", "2.7e6")
    said = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "2,700,000" in said["images"]
    speed, (hours, minutes, seconds) = float(said["measured"].split()[1]), map(int, said["time"].split()[1].split(":"))
    assert 3600 * hours + 60 * minutes + seconds == pytest.approx(2.7e6 / speed, rel=0.06 if speed > 1 else 0.6)
    assert "679.8 MiB" in said["disk"]  # 128 numbers of 2 bytes and a label of 8, each
    extract(folder, out, "--dry-run")
    assert "images    15 " in capsys.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: (root / "t.csv").write_text("path,label\n../../etc/passwd,a\n"), "leaves the folder"),
        (lambda root: (root / "t.csv").write_text("file,label\nx.png,a\n"), "no column 'path'"),
        (lambda root: (root / "t.csv").write_text("path,label\nx.png,\n"), "label is empty"),
        (lambda root: (root / "t.csv").write_text("path,label\nx.png,a\n"), "no such file"),
        (lambda root: (root / "t.tar").write_bytes(b"\x00garbage" * 200), "damaged"),
        (lambda root: write_tar(root / "t.tar", {"x.png": picture(0), "x.json": b"{"}), "not a label"),
        (lambda root: (root / "t").mkdir(), "no pictures"),
    ],
)
def test_bad_sources_are_refused(
    make: object, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make(tmp_path)  # type: ignore[operator]
    (source,) = tmp_path.glob("t*")
    with pytest.raises(SystemExit):
        extract(source, tmp_path / "out.safetensors")
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.safetensors").exists()


def test_a_hostile_tar_touches_nothing_outside(tmp_path: Path) -> None:
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as tar:
        for name, kind in (("../../x.png", tarfile.REGTYPE), ("l.png", tarfile.SYMTYPE), ("h.png", tarfile.LNKTYPE)):
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "/etc/passwd"
            content = picture(0) if kind == tarfile.REGTYPE else b""
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    (sample,) = tar_samples([path], "train")
    assert sample.key.startswith("evil.tar/../../x.png@")  # a name on bytes: nothing is unpacked
    assert Tars(tmp_path).load(sample.key).size == (40, 40)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["evil.tar"]


def test_streaming_writes_what_safetensors_reads(tmp_path: Path) -> None:
    rows = torch.arange(10, dtype=torch.float32).view(5, 2)
    planned = {
        "a": Planned((5, 2), torch.float16, lambda: rows.split(2)),
        "b": Planned((5,), torch.int64, lambda: rows[:, 0].split(3)),
    }
    write_streaming(tmp_path / "f.safetensors", planned, {"note": "ü"})
    found = load_file(tmp_path / "f.safetensors")
    assert torch.equal(found["a"], rows.half())
    assert torch.equal(found["b"], rows[:, 0].long())
    with pytest.raises(ValueError, match="4 rows came"):
        write_streaming(tmp_path / "g", {"a": Planned((5, 2), torch.float16, lambda: [rows[:4]])}, {})
    assert not (tmp_path / "g").exists()
