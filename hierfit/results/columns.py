"""Columns of a summary: any metric under any decoder, and what a run cost."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from hierfit.errors import UserError
from hierfit.results.card import ResultCard

Unit = Literal["%", "edges", "levels", "count", "s", "MiB"]

# Header, unit, whether higher is better: neither of severity, which looks at each row's own mistakes.
_METRICS: dict[str, tuple[str, Unit, bool | None]] = {
    "fpa": ("FPA", "%", True),
    "tice": ("TICE", "%", False),
    "leaf_accuracy": ("leaf acc", "%", True),
    "leaf_accuracy_macro": ("leaf acc macro", "%", True),
    "wap_accuracy": ("wAP acc", "%", True),
    "wap_precision": ("wAP prec", "%", True),
    "tree_distance": ("distance", "edges", False),
    "mistake_severity": ("severity", "levels", None),
    "hierarchical_precision": ("hP", "%", True),
    "hierarchical_recall": ("hR", "%", True),
    "hierarchical_f1": ("hF", "%", True),
    "hca": ("HCA", "%", True),
    "mta": ("MTA", "%", True),
    "ece": ("ECE", "%", False),
    "haurc": ("hAURC", "%", False),
    "base": ("base", "%", True),
    "novel": ("novel", "%", True),
    "h": ("H", "%", True),
    "generalised_base": ("base/all", "%", True),
    "generalised_novel": ("novel/all", "%", True),
    "generalised_h": ("H/all", "%", True),
    "ausuc": ("AUSUC", "%", True),
}
_COSTS: dict[str, tuple[str, Unit]] = {
    "params": ("trained", "count"),
    "share": ("share", "%"),
    "time": ("train", "s"),
    "memory": ("memory", "MiB"),
}
PRESETS: dict[str, tuple[str, ...]] = {
    "default": ("leaf_accuracy", "fpa", "tice", "fpa@decoded", "levels"),
    "decoders": (
        "fpa@per_level",
        "fpa@rollup",
        "fpa@top_down",
        "fpa@best_path",
        "fpa@bayes",
        "tice@per_level",
        "leaf_accuracy",
    ),
    "novel": (
        "base@base_to_novel",
        "novel@base_to_novel",
        "h@base_to_novel",
        "generalised_base@base_to_novel",
        "generalised_novel@base_to_novel",
        "generalised_h@base_to_novel",
        "ausuc@base_to_novel",
    ),
    "cost": ("leaf_accuracy", "params", "share", "time", "memory"),
}
"""Columns by the name of a set of them; ``levels`` stands for the accuracy of every level by the belief."""


@dataclass(frozen=True)
class Column:
    """One figure of a card.

    Attributes:
        key: ``metric@decoder``, ``params``, ``share``, ``time`` or ``memory``.
        header: Above it in a table.
        unit: ``%`` is a fraction in the card and shown times 100.
        higher_is_better: None where more is neither better nor worse.
    """

    key: str
    header: str
    unit: Unit
    higher_is_better: bool | None = None

    @property
    def is_fact(self) -> bool:
        """Whether it follows from the settings and needs no interval when all seeds agree."""
        return self.key in ("params", "share")

    def value(self, card: ResultCard) -> float | None:
        """The figure, None where the card has none."""
        metric, _, decoder = self.key.partition("@")
        if decoder:
            return card.metrics.get(decoder, {}).get(metric)
        trained, total = card.parameters.get("trainable"), card.parameters.get("total")
        if self.key == "params":
            return trained
        if self.key == "share":
            return trained / total if trained is not None and total else None
        return card.cost.get({"time": "train_seconds", "memory": "peak_memory_mib"}[self.key])


def columns(wanted: str, cards: Sequence[ResultCard], levels: Sequence[str]) -> tuple[Column, ...]:
    """The columns of a list such as ``default`` or ``leaf_accuracy,fpa@decoded,cost``, each once.

    Args:
        wanted: Presets and names, parted by commas. A metric without decoder is that of per-level argmax, but for those
            that only one reading makes sense of: leaf accuracy is the best leaf's, a level's accuracy the belief's.
        cards: Say which metrics and decoders there are.
        levels: Level names of the table, coarse to fine.

    Raises:
        UserError: Names every column that no card has, with the nearest one that exists.
    """
    found = {f"{metric}@{decoder}" for card in cards for decoder in card.metrics for metric in card.metrics[decoder]}
    short = {metric for metric, _, decoder in (key.partition("@") for key in found) if decoder == usual_decoder(metric)}
    known = found | short | _COSTS.keys() | PRESETS.keys() | {"levels"}
    names = [name.strip() for name in wanted.split(",") if name.strip()]
    unknown = list(dict.fromkeys(name for name in names if name not in known))
    if unknown or not names:
        raise UserError(
            "These columns do not exist." if unknown else "No column is named.",
            [f"{name!r}{nearest(name, known)}" for name in unknown],
            f"Presets: {', '.join(PRESETS)}. Columns: {', '.join(sorted(short | _COSTS.keys() | {'levels'}))}; "
            "a decoder follows an @, as in fpa@best_path.",
        )
    if holds_classes_back(cards):
        names = ["novel" if name == "default" else name for name in names]
    keys = [part for name in names for part in PRESETS.get(name, (name,))]
    full = [key for name in keys for key in (_level_keys(levels) if name == "levels" else [name])]
    return tuple(_column(key) for key in dict.fromkeys(map(with_decoder, full)))


def holds_classes_back(cards: Sequence[ResultCard]) -> bool:
    """Whether the cards are of a base-to-novel protocol."""
    return all("base_to_novel" in card.metrics for card in cards)


def _level_keys(levels: Iterable[str]) -> list[str]:
    return [f"accuracy/{level.replace('.', '_')}" for level in levels]


def usual_decoder(metric: str) -> str:
    """The decoder of a metric that is named without one."""
    if metric.startswith("leaf_accuracy"):
        return "rollup"
    return "belief" if metric.startswith("accuracy/") or metric in ("ece", "haurc") else "per_level"


def with_decoder(key: str) -> str:
    """The whole key of a column: ``fpa`` is ``fpa@per_level``, ``leaf_accuracy`` is ``leaf_accuracy@rollup``."""
    return key if "@" in key or key in _COSTS else f"{key}@{usual_decoder(key)}"


def _column(key: str) -> Column:
    if key in _COSTS:
        return Column(key, *_COSTS[key])
    metric, _, decoder = key.partition("@")
    suffix = "" if decoder in (usual_decoder(metric), "base_to_novel") else f" {decoder.replace('_', ' ')}"
    if metric in _METRICS:
        header, unit, better = _METRICS[metric]
        return Column(key, header + suffix, unit, better)
    of_level = metric.startswith(("accuracy/", "h/"))
    shown = f"H {metric.removeprefix('h/')}" if metric.startswith("h/") else metric.removeprefix("accuracy/")
    return Column(key, shown + suffix, "%", True if of_level else None)


def nearest(word: str, known: Iterable[str]) -> str:
    """`` – did you mean 'x'?`` for the most similar known word, nothing when none is near."""
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f" – did you mean {close[0]!r}?" if close else ""
