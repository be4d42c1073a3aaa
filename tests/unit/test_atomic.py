"""Files that appear whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from hierfit.atomic import whole_file


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "deep/file"
    with whole_file(target) as draft:
        draft.write_text("old")
    with pytest.raises(AttributeError), whole_file(target) as draft:
        draft.write_text("half").no_such_attribute  # type: ignore[attr-defined]  # noqa: B018
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]
