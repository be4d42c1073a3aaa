"""The small data set of the tests on data, and pictures by their paths."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.data.conftest import fake_backbone, root, save_picture, towers, write_card
from tests.unit.tools.made import Pics

__all__ = ["fake_backbone", "root", "save_picture", "towers", "write_card"]


@pytest.fixture
def pics(tmp_path: Path, save_picture: Callable[[Path, int], None]) -> Pics:
    """Saves pictures of noise by their paths below ``data``."""
    count = iter(range(1, 10_000))

    def save(*paths: str) -> Path:
        for path in paths:
            save_picture(tmp_path / "data" / path, next(count))
        return tmp_path / "data"

    return save
