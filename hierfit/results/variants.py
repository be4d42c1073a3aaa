"""Rows of one name told apart by what was set otherwise, or, where nothing was, by what else differs."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from hierfit.results.card import ResultCard

_DATA = ("tree", "augment", "crop_area")
"""Facts of the data that runs of one table may set otherwise."""
_AT_MOST = 3  # facts in a name, of runs whose settings agree


def told_apart(cards: Sequence[ResultCard]) -> tuple[list[ResultCard], list[str]]:
    """Cards of one table with names that say what differs, and notes on runs that differ for no setting.

    ``LatHAdapter`` becomes ``LatHAdapter (lr 0.003)`` and ``LatHAdapter (lr 0.001)`` where both are there. Runs whose
    settings agree stay one row, unless two of one seed differ in their figures: they are told apart by steps, versions
    and device, in the end by numbers.

    Args:
        cards: Of one data set, shots, backbone and levels.
    """
    renamed = {id(card): card for card in cards}
    notes: list[str] = []
    for name in dict.fromkeys(card.row for card in cards):
        own = [card for card in cards if card.row == name]
        for label, alike in _parted(own, settings_of).items():
            for suffix, runs in _clashing(" ".join(filter(None, (name, label))), alike, notes).items():
                differs = ", ".join(filter(None, (label, suffix)))
                renamed |= {id(card): replace(card, row=f"{name} ({differs})" if differs else name) for card in runs}
    return [renamed[id(card)] for card in cards], notes


def settings_of(card: ResultCard) -> dict[str, object]:
    """What was set for a run, flat, by dotted key."""
    found: dict[str, object] = {"method": card.method, **{key: card.data.get(key) for key in _DATA}}
    for key, value in _flat(card.method_settings):
        found[key.removeprefix("init_args.")] = value
    found.pop("class_path", None)  # the method says it
    return found


def same_figures(a: ResultCard, b: ResultCard) -> bool:
    """Whether no figure differs by half a point: another machine or batch size may turn a sample or two."""
    if {d: m.keys() for d, m in a.metrics.items()} != {d: m.keys() for d, m in b.metrics.items()}:
        return False
    pairs = [(a.metrics[d][m], b.metrics[d][m]) for d in a.metrics for m in a.metrics[d]]
    return all(x == y if x is None or y is None else abs(x - y) < 0.005 for x, y in pairs)


def _clashes(cards: Sequence[ResultCard]) -> list[tuple[ResultCard, ResultCard]]:
    """Runs of one seed whose figures differ."""
    return [(a, b) for a, b in combinations(cards, 2) if a.seed == b.seed and not same_figures(a, b)]


def _clashing(name: str, cards: list[ResultCard], notes: list[str]) -> dict[str, list[ResultCard]]:
    """Runs of the same settings by what else tells them apart; all under "" where their figures agree."""
    pairs = _clashes(cards)
    if not pairs:
        return {"": cards}
    facts = [key for key in _facts(cards[0]) if any(_facts(a)[key] != _facts(b)[key] for a, b in pairs)][:_AT_MOST]
    parted = _parted(cards, lambda card: {key: _facts(card)[key] for key in facts})
    if any(map(_clashes, parted.values())):
        parted = _parted(cards, lambda card: {"run": _number(card, cards)})
    seeds = ", ".join(map(str, dict.fromkeys(card.seed for card, _ in pairs)))
    but = f"; they differ in {', '.join(facts)}" if facts else ", nor do versions, device or steps differ"
    notes.append(f"{name}: with seed {seeds}, runs of the same settings have different figures{but}. Each has a row.")
    return parted


def _number(card: ResultCard, cards: Sequence[ResultCard]) -> int:
    same = [other for other in cards if other.seed == card.seed]
    return 1 + next(i for i, other in enumerate(same) if other is card)


def _facts(card: ResultCard) -> dict[str, object]:
    """What differs between runs whose settings agree, the likeliest cause first."""
    draw = card.data.get("draw")
    return {
        "steps": card.cost.get("steps"),
        "selected on": card.selected_on,
        "training draw": draw.get("train") if isinstance(draw, Mapping) else None,
        **{key: card.versions.get(key) for key in ("commit", "hierfit", "torch")},
        "device": card.cost.get("device"),
        "experiment": card.experiment,
    }


def _parted(
    cards: Sequence[ResultCard], facts: Callable[[ResultCard], Mapping[str, object]]
) -> dict[str, list[ResultCard]]:
    """Cards by the facts in which they differ, in words; all under "" where they agree."""
    found = [facts(card) for card in cards]
    keys = dict.fromkeys(key for each in found for key in each)
    differing = [key for key in keys if len({json.dumps(each.get(key), sort_keys=True) for each in found}) > 1]
    groups: dict[str, list[ResultCard]] = {}
    for card, each in zip(cards, found, strict=True):
        groups.setdefault(", ".join(_shown(key, each.get(key)) for key in differing), []).append(card)
    return groups


def _shown(key: str, value: object) -> str:
    if key == "method":
        return str(value)
    if key == "tree" and value is not None:
        return f"{value} tree"
    return f"{key} {value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)}"


def _flat(settings: object, key: str = "") -> list[tuple[str, Any]]:
    if isinstance(settings, Mapping) and settings and not key.endswith("objective"):
        return [pair for k, v in settings.items() for pair in _flat(v, f"{key}.{k}".lstrip("."))]
    return [(key, settings)] if key else []
