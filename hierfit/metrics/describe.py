"""What a metric is called in tables, in which unit, and which way is better."""

from __future__ import annotations

from typing import NamedTuple


class Description(NamedTuple):
    """Of a metric.

    Attributes:
        header: Above its column.
        unit: ``%`` is a fraction in result cards and shown times 100; or ``edges``, ``levels``, or one of your own.
        higher_is_better: None where more is neither better nor worse.
    """

    header: str
    unit: str = "%"
    higher_is_better: bool | None = True


_DESCRIPTIONS = {
    "fpa": Description("FPA"),
    "tice": Description("TICE", higher_is_better=False),
    "leaf_accuracy": Description("leaf acc"),
    "leaf_accuracy_macro": Description("leaf acc macro"),
    "wap_accuracy": Description("wAP acc"),
    "wap_precision": Description("wAP prec"),
    "tree_distance": Description("distance", "edges", False),
    # Of severity neither: it looks at each row's own mistakes.
    "mistake_severity": Description("severity", "levels", None),
    "hierarchical_precision": Description("hP"),
    "hierarchical_recall": Description("hR"),
    "hierarchical_f1": Description("hF"),
    "hca": Description("HCA"),
    "mta": Description("MTA"),
    "ece": Description("ECE", higher_is_better=False),
    "haurc": Description("hAURC", higher_is_better=False),
    "base": Description("base"),
    "novel": Description("novel"),
    "h": Description("H"),
    "generalised_base": Description("base/all"),
    "generalised_novel": Description("novel/all"),
    "generalised_h": Description("H/all"),
    "ausuc": Description("AUSUC"),
}


def describe(name: str) -> Description:
    """The description of a metric by its name in result cards; of one that hierfit does not bring, its bare name."""
    if name in _DESCRIPTIONS:
        return _DESCRIPTIONS[name]
    kind, _, level = name.rpartition("/")
    if kind in ("accuracy", "h"):
        return Description(level if kind == "accuracy" else f"H {level}")
    return Description(name, higher_is_better=None)
