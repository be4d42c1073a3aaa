"""A model by its name on the hub: from the cache, else downloaded, else said in a sentence."""

from __future__ import annotations

from pathlib import Path

import huggingface_hub
import pytest

from hierfit.errors import UserError
from hierfit.predict.hub import is_name
from hierfit.predict.predictor import load


def test_the_cache_comes_first_and_offline_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[bool] = []
    (tmp_path / "cached").mkdir()

    def download(name: str, revision: str | None = None, local_files_only: bool = False) -> str:
        asked.append(local_files_only)
        if local_files_only and name != "gulls/cached":
            raise FileNotFoundError
        if name == "gulls/cached":
            assert revision == "v2"
            return str(tmp_path / "cached")
        raise ConnectionError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(
        UserError, match="is no run and no exported model"
    ):  # what lies in the cache is read as a folder
        load("gulls/cached@v2")
    assert asked == [True]
    with pytest.raises(UserError, match=r"gulls/model(?s:.*)no network(?s:.*)hf download gulls/model"):
        load("gulls/model")


@pytest.mark.parametrize(
    ("name", "hub"),
    [
        *(("gulls/model", True), ("model", False), ("latest/controls/zero-shot", False), ("/tmp/x", False)),
        ("runs/typo", False),  # there is a folder runs
    ],
)
def test_what_is_a_name_of_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, hub: bool) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    assert is_name(name) == hub
