from __future__ import annotations

from pathlib import Path

import pytest
import torch

from hierfit.atomic import whole_file
from hierfit.data.encode import VectorCache, cache_root, digest
from hierfit.errors import UserError

DIGESTS = [digest(str(i)) for i in range(10)]


@pytest.fixture
def cache(tmp_path: Path) -> VectorCache:
    return VectorCache(tmp_path / "cache")


def test_vectors_are_found_by_digest_in_any_order(cache: VectorCache) -> None:
    vectors = torch.randn(10, 3)
    cache.add(DIGESTS[:6], vectors[:6])
    cache.add(DIGESTS[6:], vectors[6:])
    order = torch.randperm(10)
    found, missing = cache.read([DIGESTS[i] for i in order])
    assert torch.equal(found, vectors[order])
    assert missing.tolist() == []


def test_what_is_missing_is_named(cache: VectorCache) -> None:
    found, missing = cache.read(DIGESTS)
    assert found.shape == (10, 0)
    assert missing.tolist() == list(range(10))
    cache.add(DIGESTS[3:5], torch.ones(2, 3))
    found, missing = cache.read(DIGESTS)
    assert missing.tolist() == [0, 1, 2, 5, 6, 7, 8, 9]
    assert found.sum() == 6


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


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep/file"
    with whole_file(target) as draft:
        draft.write_text("old")
    with pytest.raises(AttributeError), whole_file(target) as draft:
        draft.write_text("half").no_such_attribute  # type: ignore[attr-defined]  # noqa: B018
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]
