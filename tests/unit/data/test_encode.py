from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from hierfit.data import encode as module
from hierfit.data.encode import VectorCache, cache_root, check_pictures, digest, encode
from hierfit.data.images import Files, open_image
from hierfit.errors import UserError

SavePicture = Callable[[Path, int], None]
KEYS = [f"{i:02}.png" for i in range(70)]


@pytest.fixture
def files(tmp_path: Path, save_picture: SavePicture) -> Files:
    for i, key in enumerate(KEYS):
        save_picture(tmp_path / "p" / key, i)
    return Files(tmp_path / "p")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VectorCache:
    monkeypatch.setattr(module, "SHARD", 32)
    return VectorCache(tmp_path / "cache")


def run(keys: list[str], files: Files, cache: VectorCache, towers: Any, workers: int = 0) -> Tensor:
    return encode(keys, files, towers.preprocess, towers.encode_image, cache, workers)


@pytest.mark.parametrize("workers", [0, 2])
def test_features_are_those_of_the_tower(files: Files, cache: VectorCache, towers: Any, workers: int) -> None:
    features = run(KEYS, files, cache, towers, workers)
    pixels = torch.stack([towers.preprocess(open_image(files.root / key)) for key in KEYS])
    torch.testing.assert_close(features, F.normalize(pixels.flatten(1) @ towers.weight.detach(), dim=-1))
    assert len(list(cache.folder.iterdir())) == 3


def test_each_picture_is_encoded_once(files: Files, cache: VectorCache, towers: Any) -> None:
    first = run(KEYS[:40], files, cache, towers)
    assert towers.encoded == 64  # two batches, the second padded
    again = run(KEYS[:40][::-1], files, cache, towers)
    assert torch.equal(again, first.flip(0))
    assert towers.encoded == 64
    run(KEYS, files, cache, towers)
    assert towers.encoded == 96


def test_a_feature_does_not_depend_on_what_the_cache_held(
    files: Files, cache: VectorCache, towers: Any, tmp_path: Path
) -> None:
    run(KEYS[5:50:3], files, cache, towers)
    assert torch.equal(run(KEYS, files, cache, towers), run(KEYS, files, VectorCache(tmp_path / "b"), towers))


def test_a_changed_picture_is_encoded_again(files: Files, cache: VectorCache, towers: Any) -> None:
    before = run(KEYS, files, cache, towers)
    Image.new("RGB", (20, 20), "red").save(files.root / KEYS[7])
    after = run(KEYS, files, cache, towers)
    assert (before != after).any(1).nonzero().squeeze(1).tolist() == [7]


@pytest.mark.parametrize("workers", [0, 2])
def test_all_bad_pictures_are_named_and_the_good_shards_stay(
    files: Files, cache: VectorCache, towers: Any, save_picture: SavePicture, workers: int
) -> None:
    bad = [KEYS[40], KEYS[41], KEYS[69]]
    for key in bad:
        (files.root / key).write_text("no picture")
    with pytest.raises(UserError, match="3 of 70 pictures cannot be used") as caught:
        run(KEYS, files, cache, towers, workers)
    assert [problem.split(": ")[0] for problem in caught.value.problems] == [str(files.root / key) for key in bad]
    assert "Mend these files" in caught.value.hint
    assert [path.suffix for path in cache.folder.iterdir()] == [".safetensors"]  # the first shard; no drafts
    for i, key in enumerate(KEYS):
        save_picture(files.root / key, i) if key in bad else None
    towers.encoded = 0
    assert run(KEYS, files, cache, towers).norm(dim=-1).min() > 0.99
    assert towers.encoded == 64


def test_checking_decodes_once_and_remembers(files: Files, cache: VectorCache, monkeypatch: pytest.MonkeyPatch) -> None:
    check_pictures(KEYS, files, cache)
    monkeypatch.setattr(files, "load", lambda key: pytest.fail(f"{key} was decoded again"))
    check_pictures(KEYS, files, cache)
    monkeypatch.undo()
    (files.root / KEYS[3]).write_text("no picture")
    with pytest.raises(UserError, match=r"1 of 1 pictures cannot be used(.|\n)*03\.png: not a picture"):
        check_pictures(KEYS, files, cache)


def test_quiet_when_not_a_terminal(
    files: Files, cache: VectorCache, towers: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    run(KEYS, files, cache, towers)
    assert capfd.readouterr() == ("", "")


# ---------------------------------------------------------------------- the cache itself


DIGESTS = [digest(str(i)) for i in range(10)]


def test_vectors_are_found_by_digest_in_any_order(cache: VectorCache) -> None:
    found, missing = cache.read(DIGESTS)
    assert found.shape == (10, 0)
    assert missing.tolist() == list(range(10))
    vectors, order = torch.randn(10, 3), torch.randperm(10)
    cache.add(DIGESTS[3:5], vectors[3:5])
    found, missing = cache.read(DIGESTS)
    assert missing.tolist() == [0, 1, 2, 5, 6, 7, 8, 9]
    assert torch.equal(found[3:5], vectors[3:5])
    assert not found[missing].any()
    cache.add([*DIGESTS[:3], *DIGESTS[5:]], vectors[missing])
    found, missing = cache.read([DIGESTS[i] for i in order])
    assert torch.equal(found, vectors[order])
    assert missing.tolist() == []


def test_equal_shards_are_one_file(cache: VectorCache) -> None:
    for _ in range(2):
        cache.add(DIGESTS, torch.ones(10, 3))
    assert len(list(cache.folder.iterdir())) == 1


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_shard_is_removed_with_a_warning(cache: VectorCache, damage: str) -> None:
    cache.add(DIGESTS[:5], torch.zeros(5, 3))
    (first,) = cache.folder.iterdir()
    cache.add(DIGESTS[5:], torch.ones(5, 3))
    content = bytearray(first.read_bytes())
    if damage == "flip":
        content[-1] ^= 1
    first.write_bytes({"cut": bytes(content[:-8]), "flip": bytes(content), "empty": b"", "text": b"x"}[damage])
    with pytest.warns(UserWarning, match=f"{first.name} is damaged; its features are computed again"):
        found, missing = cache.read(DIGESTS)
    assert missing.tolist() == [0, 1, 2, 3, 4]
    assert torch.equal(found[5:], torch.ones(5, 3))
    assert not first.exists()


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"cannot be written to(.|\n)*HIERFIT_CACHE"):
        VectorCache(tmp_path / "file").add(DIGESTS, torch.ones(10, 3))


def test_where_caches_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HIERFIT_CACHE", str(tmp_path / "a"))
    assert cache_root(None) == tmp_path / "a"
    assert cache_root(str(tmp_path / "b")) == tmp_path / "b"
    monkeypatch.delenv("HIERFIT_CACHE")
    assert cache_root(None) == Path.home() / ".cache/hierfit"


def test_digests_tell_texts_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("a") == digest("a")
