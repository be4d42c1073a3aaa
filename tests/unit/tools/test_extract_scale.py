"""Extraction of many pictures: memory that does not grow with them, cards, folders that cannot be written to."""

from __future__ import annotations

import errno
import gc
import io
import os
import tarfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError
from torch import Tensor

from hierfit.cli import main
from hierfit.data import decode
from hierfit.data.bundle import read_bundle
from hierfit.data.samples import Sample
from hierfit.tools.extract import assemble, job, run
from tests.unit.data.conftest import FakeTowers, WriteCard

PART = 32


def extract(source: Path | str, out: Path, *options: str) -> None:
    main(["features", "extract", str(source), f"--out={out}", "--workers=0", f"--part={PART}", *options])


@pytest.fixture
def pictures(tmp_path: Path, save_picture: Callable[[Path, int], None]) -> Callable[[str, int], Path]:
    """So many pictures of ten classes, as a folder, a table or one tar."""
    save_picture(tmp_path / "one.png", 0)

    def make(kind: str, count: int) -> Path:
        folder = tmp_path / f"{kind}{count}"
        folder.mkdir()
        names = [f"{number % 10}/{number}.png" for number in range(count)]
        if kind == "tar":
            with tarfile.open(folder / "all.tar", "w") as tar:
                for number in range(count):
                    tar.add(tmp_path / "one.png", f"{number}.png")
                    label = tarfile.TarInfo(f"{number}.cls")
                    label.size = 1
                    tar.addfile(label, io.BytesIO(str(number % 10).encode()))
            return folder
        for name in names:
            (folder / name).parent.mkdir(exist_ok=True)
            os.link(tmp_path / "one.png", folder / name)
        if kind == "table":
            rows = [f"{name},{name[0]}" for name in names]
            (folder / "table.csv").write_text("\n".join(["path,label", *rows]), encoding="utf-8")
            return folder / "table.csv"
        return folder

    return make


@pytest.mark.parametrize("kind", ["folder", "table", "tar"])
def test_no_more_than_a_part_is_held(
    kind: str,
    pictures: Callable[[str, int], Path],
    tmp_path: Path,
    fake_backbone: FakeTowers,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Counted while it is planned, encoded and put together: samples, and the headers that a tar is read by."""
    held: dict[str, int] = {}

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            now = sum(type(thing) in (Sample, tarfile.TarInfo) for thing in gc.get_objects())
            held[name] = max(held.get(name, 0), now)
            return function(*args)

        return call

    for module, name, doing in (
        (job, "whole_file", "planned"),
        (decode, "run_padded", "encoded"),
        (assemble, "encode_texts", "put together"),
    ):
        monkeypatch.setattr(module, name, counted(doing, getattr(module, name)))
    source = pictures(kind, 10 * PART)
    gc.collect()
    extract(source, tmp_path / "out.safetensors")
    assert len(read_bundle(tmp_path / "out.safetensors").splits["train"].labels) == 10 * PART
    assert held.keys() == {"planned", "encoded", "put together"}
    assert max(held.values()) <= 3 * PART, held


def test_features_of_a_part_are_one_piece_of_memory(
    pictures: Callable[[str, int], Path], tmp_path: Path, fake_backbone: FakeTowers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small tensors that outlive their batch tear up the heap: 20 KB a picture were lost that way."""
    encode, made, most = decode.run_padded, list[weakref.ref[Tensor]](), 0

    def watched(tower: Callable[[Tensor], Tensor], pixels: Tensor) -> Tensor:
        nonlocal made, most
        features = encode(tower, pixels)
        made = [ref for ref in made if ref() is not None] + [weakref.ref(features)]
        most = max(most, len(made))
        return features

    monkeypatch.setattr(decode, "run_padded", watched)
    extract(pictures("folder", 320), tmp_path / "out.safetensors", "--part=320", "--dtype=float32")
    assert fake_backbone.encoded == 320
    assert most <= 2


def test_a_tar_is_worked_on_in_parts(
    pictures: Callable[[str, int], Path], tmp_path: Path, fake_backbone: FakeTowers, capsys: pytest.CaptureFixture[str]
) -> None:
    tars, out = pictures("tar", 40), tmp_path / "out.safetensors"
    extract(tars, out, "--part=16")
    assert read_bundle(out).splits["train"].labels.tolist() == [number % 10 for number in range(40)]
    path = tars / "all.tar"
    whole = path.read_bytes()
    with tarfile.open(path) as tar:
        header = tar.getmembers()[40].offset
    for damaged in (
        whole[: header + 100],
        whole[:header] + b"x" * 512 + whole[header + 512 :],  # tarfile would take it for the end
    ):
        path.write_bytes(damaged)
        with pytest.raises(SystemExit):
            extract(tars, tmp_path / "damaged.safetensors", "--part=16")
        assert "all.tar: damaged" in capsys.readouterr().err
    assert not (tmp_path / "damaged.safetensors").exists()


def test_a_card(
    root: Path, write_card: WriteCard, tmp_path: Path, fake_backbone: FakeTowers, capsys: pytest.CaptureFixture[str]
) -> None:
    card, out = write_card(), tmp_path / "out.safetensors"
    extract(card, out, f"--root={root}", "--dtype=float32")
    said = capsys.readouterr().out
    assert "train 24, val 12, test 16" in said
    assert "family 2, species 4" in said
    bundle = read_bundle(out)
    assert bundle.levels == ("family", "species")
    assert {name: len(split.labels) for name, split in bundle.splits.items()} == {"train": 24, "val": 12, "test": 16}
    from hierfit.tools.extract.export import features_of_card

    cached, _ = features_of_card(card, [], str(root), "fake", None, 0)  # the way that runs take
    assert bundle.paths == cached.paths
    assert bundle.node_text is not None
    assert cached.node_text is not None
    torch.testing.assert_close(bundle.node_text, cached.node_text)
    for name, split in bundle.splits.items():
        assert torch.equal(split.features, cached.splits[name].features)
        assert torch.equal(split.labels, cached.splits[name].labels)
    with pytest.raises(SystemExit):
        extract(card, tmp_path / "none.safetensors")
    assert "needs data.root" in capsys.readouterr().err


def test_parts_of_another_extraction_are_not_taken_up(
    root: Path,
    tmp_path: Path,
    fake_backbone: FakeTowers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out.safetensors"
    with monkeypatch.context() as patched:
        patched.setattr(run, "assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(SystemExit):
            extract(root, out)
    monkeypatch.setattr(fake_backbone, "fingerprint", "a" * 64)  # other weights of the same name
    with pytest.raises(SystemExit):
        extract(root, out)
    said = capsys.readouterr().err
    assert "parts of another extraction" in said
    assert f"weights: {'f' * 64}, now {'a' * 64}" in said
    assert not out.exists()


@pytest.mark.parametrize(
    ("number", "fails"),
    [(errno.EROFS, "folder"), (errno.EACCES, "folder"), (errno.ENOSPC, "part"), (errno.ENOSPC, "bundle")],
)
def test_where_nothing_can_be_written_it_says_so(
    number: int,
    fails: str,
    root: Path,
    tmp_path: Path,
    fake_backbone: FakeTowers,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out" / "out.safetensors"
    before = sorted(tmp_path.iterdir())

    def refused(*args: object, **kwargs: object) -> None:
        raise OSError(number, os.strerror(number), str(out))

    def as_rust_says_it(*args: object, **kwargs: object) -> None:
        raise SafetensorError(f"Error while serializing: I/O error: {os.strerror(number)} (os error {number})")

    with monkeypatch.context() as patched:
        if fails == "folder":
            patched.setattr(Path, "mkdir", refused)
        elif fails == "part":
            patched.setattr("hierfit.tensors.save_file", as_rust_says_it)
        else:
            patched.setattr("hierfit.tools.extract.assemble.write_streaming", refused)
        with pytest.raises(SystemExit) as stop:
            extract(root, out)
    said = capsys.readouterr().err
    assert stop.value.code == 2
    assert os.strerror(number) in said
    assert "Traceback" not in said
    assert not out.exists()
    assert not list(tmp_path.rglob("*.tmp"))
    if fails == "folder":
        assert sorted(tmp_path.iterdir()) == before
    extract(root, out)  # and once that is mended, the same command goes on
    assert len(read_bundle(out).splits["test"].labels) == 16
    assert [path.name for path in out.parent.iterdir()] == [out.name]
