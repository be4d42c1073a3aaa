"""What is found of a data set."""

from __future__ import annotations

from dataclasses import dataclass, field

from hierfit.data.card import DataCard
from hierfit.taxonomy import Taxonomy
from hierfit.tools.check.labels import Labels


@dataclass
class Audit:
    """What was found.

    Attributes:
        card: The data card.
        root: Where the data lie.
        taxonomy: The tree; None where nothing could be read.
        splits: Counts of the labels, by split.
        places: Split and label of each picture, by key; where it is in several splits, of the first.
        looked_at: Pictures decoded.
        seconds: How long that took.
        kinds: Pictures of each format and mode.
        sizes: Smallest, median and largest of the shorter sides and of the longer sides, pixels.
        unreadable: Reason for each picture that cannot be used, by key.
        exact: Groups of keys of equal content.
        near: Pairs of keys that look alike and their distance in bits, the most alike first.
        problems: What must be mended.
        warnings: What someone should look at.
        notes: What is good to know.
    """

    card: DataCard
    root: str | None
    taxonomy: Taxonomy | None = None
    splits: dict[str, Labels] = field(default_factory=dict)
    places: dict[str, tuple[str, int]] = field(default_factory=dict)
    looked_at: int = 0
    seconds: float = 0.0
    kinds: dict[str, int] = field(default_factory=dict)
    sizes: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    unreadable: dict[str, str] = field(default_factory=dict)
    exact: list[list[str]] = field(default_factory=list)
    near: list[tuple[str, str, int]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
