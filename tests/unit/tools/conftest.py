"""The small data set of the tests on data."""

from tests.unit.data.conftest import fake_backbone, root, save_picture, towers, write_card

__all__ = ["fake_backbone", "root", "save_picture", "towers", "write_card"]
