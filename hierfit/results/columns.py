"""Columns of a summary: any metric under any decoder, what a run cost, and what papers print of the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hierfit.config.schema import build, read_yaml
from hierfit.errors import UserError, nearest
from hierfit.metrics.describe import Description, describe
from hierfit.results.card import ResultCard
from hierfit.results.table import Cell, Column

PUBLISHED = Path(__file__).with_name("published.yaml")

_COSTS = {
    "params": Column("trained", "count", key="params", is_fact=True),
    "share": Column("share", "%", key="share", is_fact=True),
    "time": Column("train", "s", key="time"),
    "memory": Column("memory", "MiB", key="memory"),
}
_NOVEL = ("base", "novel", "h", "generalised_base", "generalised_novel", "generalised_h", "ausuc")
_PRESETS: dict[str, tuple[str, ...]] = {
    "default": ("leaf_accuracy", "fpa", "tice", "fpa@decoded", "levels"),
    "decoders": (
        *(f"fpa@{decoder}" for decoder in ("per_level", "rollup", "top_down", "best_path", "bayes")),
        *("tice@per_level", "leaf_accuracy"),
    ),
    "novel": tuple(f"{metric}@base_to_novel" for metric in _NOVEL),
    "cost": ("leaf_accuracy", *_COSTS),
}
"""Columns by the name of a set of them; ``levels`` stands for the accuracy of every level by the belief."""


def figure(card: ResultCard, key: str) -> float | None:
    """What a card has in a column, such as ``fpa@decoded`` or ``time``; None where it has nothing."""
    metric, _, decoder = key.partition("@")
    if decoder:
        return card.metrics.get(decoder, {}).get(metric)
    trained, total = card.parameters.get("trainable"), card.parameters.get("total")
    if key == "params":
        return trained
    if key == "share":
        return trained / total if trained is not None and total else None
    return card.cost.get({"time": "train_seconds", "memory": "peak_memory_mib"}[key])


def columns(choice: str, cards: Sequence[ResultCard], levels: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a list such as ``default`` or ``leaf_accuracy,fpa@decoded,cost``, each once.

    Args:
        choice: Presets and names, parted by commas. A metric without decoder is that of per-level argmax, but for those
            that only one reading makes sense of: leaf accuracy is the best leaf's, a level's accuracy the belief's.
        cards: Say which metrics and decoders there are.
        levels: Level names of the table, coarse to fine.

    Raises:
        UserError: Names every column that no card has, with the nearest one that exists.
    """
    found = {f"{metric}@{decoder}" for card in cards for decoder in card.metrics for metric in card.metrics[decoder]}
    short = {
        metric for metric, _, decoder in (key.partition("@") for key in found) if decoder == _usual_decoder(metric)
    }
    plain = short | _COSTS.keys() | _PRESETS.keys() | {"levels"}
    names = [name.strip() for name in choice.split(",") if name.strip()]
    unknown = list(dict.fromkeys(name for name in names if name not in plain | found))
    if unknown or not names:
        raise UserError(
            "These columns do not exist." if unknown else "No column is named.",
            [f"{name!r}{nearest(name, found if '@' in name else plain)}" for name in unknown],
            f"Presets: {', '.join(_PRESETS)}; a metric's decoder follows an @, as in fpa@best_path.",
        )
    if holds_classes_back(cards):
        names = ["novel" if name == "default" else name for name in names]
    keys = [part for name in names for part in _PRESETS.get(name, (name,))]
    full = [key for name in keys for key in (map(accuracy_of, levels) if name == "levels" else [name])]
    own = {name: Description(**found) for card in cards for name, found in card.own_metrics.items()}
    return tuple(_column(key, own) for key in dict.fromkeys(map(with_decoder, full)))


def _column(key: str, own: Mapping[str, Description]) -> Column:
    if key in _COSTS:
        return _COSTS[key]
    metric, _, decoder = key.partition("@")
    suffix = "" if decoder in (_usual_decoder(metric), "base_to_novel") else f" {decoder.replace('_', ' ')}"
    header, unit, better = own.get(metric) or describe(metric)
    return Column(header + suffix, unit, higher_is_better=better, key=key)


def holds_classes_back(cards: Sequence[ResultCard]) -> bool:
    """Whether the cards are of a base-to-novel protocol."""
    return all("base_to_novel" in card.metrics for card in cards)


def accuracy_of(level: str) -> str:
    """The metric of a level's accuracy; names of metrics hold no dots."""
    return f"accuracy/{level.replace('.', '_')}"


def _usual_decoder(metric: str) -> str:
    if metric.startswith("leaf_accuracy"):
        return "rollup"
    return "belief" if metric.startswith("accuracy/") or metric in ("ece", "haurc") else "per_level"


def with_decoder(key: str) -> str:
    """The whole key of a column: ``fpa`` is ``fpa@per_level``, ``leaf_accuracy`` is ``leaf_accuracy@rollup``."""
    return key if "@" in key or key in _COSTS else f"{key}@{_usual_decoder(key)}"


@dataclass(frozen=True)
class Published:
    """One row of a paper's tables, which prints means and no intervals."""

    row: str  # the paper's name of the method
    source: str  # who published it, where and when
    protocol: str  # as in a result card's data
    shots: int  # training images a leaf
    backbone: str  # last part of the towers' name or folder, such as ``clip-vit-base-patch16``
    seeds: tuple[int, ...]  # the figures are means over them
    selected_on: str  # what chose the checkpoints
    figures: Mapping[str, Mapping[str, float]]  # by data card and column (``metric@decoder``), in %

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
def read_published(path: Path = PUBLISHED) -> tuple[Published, ...]:
    """All rows of a file; raises `UserError` where it is not as `Published` says."""
    problems: list[str] = []
    value, place = read_yaml(path, problems)
    rows = [build(Published, row, place.at(str(number)), problems) for number, row in enumerate(value)]
    if problems:
        raise UserError(f"{path}: these figures cannot be used", problems)
    return tuple(row for row in rows if row is not None)
