"""Figures that papers print, for the same data set, protocol, shots and backbone as a table's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hierfit.config.schema import build, read_yaml
from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.results.table import Cell, Column

FILE = Path(__file__).with_name("published.yaml")


@dataclass(frozen=True)
class Published:
    """One row of a paper's tables.

    Attributes:
        row: The paper's name of the method.
        source: Who published it, where and when.
        protocol: As in a result card's data.
        shots: Training images a leaf.
        backbone: Last part of the towers' name or folder, such as ``clip-vit-base-patch16``.
        seeds: The figures are means over them; the papers print no interval.
        selected_on: What chose the checkpoints.
        figures: By data card and column (``metric@decoder``), in %.
    """

    row: str
    source: str
    protocol: str
    shots: int
    backbone: str
    seeds: tuple[int, ...]
    selected_on: str
    figures: Mapping[str, Mapping[str, float]]

    def fits(self, card: ResultCard) -> bool:
        """Whether the figures stand for what the card's run measured."""
        return (
            card.data.get("card") in self.figures
            and card.data.get("protocol") == self.protocol
            and card.data.get("shots") == self.shots
            and card.data.get("tree", "true") == "true"
            and str(card.backbone.get("source")).rstrip("/").rpartition("/")[2] == self.backbone
        )

    def cells(self, data: str, columns: Sequence[Column]) -> list[Cell]:
        """Its figures on a data card, a cell a column."""
        printed = [self.figures[data].get(column.key) for column in columns]
        return [Cell(None if value is None else value / 100, of=len(self.seeds)) for value in printed]


def published_for(card: ResultCard) -> list[Published]:
    """The published rows that may stand in one table with a card."""
    return [published for published in read_published() if published.fits(card)]


@cache
def read_published(path: Path = FILE) -> tuple[Published, ...]:
    """All rows of a file.

    Raises:
        UserError: The file is not as `Published` says.
    """
    problems: list[str] = []
    value, place = read_yaml(path, problems)
    rows = [build(Published, row, place.at(str(number)), problems) for number, row in enumerate(value)]
    if problems:
        raise UserError(f"{path}: these figures cannot be used", problems)
    return tuple(row for row in rows if row is not None)
