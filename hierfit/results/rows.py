"""What makes a row of a table: which runs may stand in one, what tells apart runs of one name, rows made of others."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from itertools import combinations
from typing import Any

from hierfit.errors import UserError
from hierfit.results.card import ResultCard

_CRITERION = "val/leaf_accuracy"
_OF_TABLE = ("card", "card_version", "card_fingerprint", "protocol", "shots")
_OF_ROW = ("tree", "augment", "crop_area")  # facts of the data that runs of one table may set otherwise


def agreement(card: ResultCard) -> tuple[Any, ...]:
    """What two cards must have in common for their figures to stand in one table.

    The tree may differ, so that a shuffled tree can stand beside the true one: a note says so.
    """
    test, backbone = (card.data.get("draw") or {}).get("test"), card.backbone
    return *map(card.data.get, _OF_TABLE), test, backbone.get("source"), backbone.get("fingerprint"), card.levels


def told_apart(cards: Sequence[ResultCard]) -> tuple[list[ResultCard], list[tuple[tuple[Any, ...], str]]]:
    """Cards with names that say what differs within a table; and by table notes on runs that differ for no setting.

    ``LatHAdapter`` becomes ``LatHAdapter (lr 0.003)`` and ``LatHAdapter (lr 0.001)`` where both are there. Runs whose
    settings agree stay one row, unless two of one seed differ in their figures: they are told apart by steps, versions
    and device, in the end by numbers.
    """
    names: dict[int, str] = {}
    notes: list[tuple[tuple[Any, ...], str]] = []
    rows: dict[str, list[ResultCard]] = {}
    for card in cards:
        rows.setdefault(repr((agreement(card), card.row)), []).append(card)
    for own in rows.values():
        for label, alike in _split_by(own, [_settings(card) for card in own]).items():
            parts = {"": alike}
            if clashes := _clashes(alike):
                name = " ".join(filter(None, (own[0].row, label)))
                note = f"{name}: runs of the same settings and seed have different figures. Each has a row."
                notes.append((agreement(own[0]), note))
                pairs = [(_circumstances(a), _circumstances(b)) for a, b in clashes]
                differing = [key for key in pairs[0][0] if any(a[key] != b[key] for a, b in pairs)]
                parts = _split_by(alike, [{key: of[key] for key in differing} for of in map(_circumstances, alike)])
                if any(map(_clashes, parts.values())):
                    seeds = [card.seed for card in alike]
                    parts = {}
                    for i, card in enumerate(alike):
                        parts.setdefault(f"run {seeds[: i + 1].count(card.seed)}", []).append(card)
            for suffix, runs in parts.items():
                differs = ", ".join(filter(None, (label, suffix)))
                names |= {id(card): f"{card.row} ({differs})" if differs else card.row for card in runs}
    return [replace(card, row=names[id(card)]) for card in cards], notes


def _clashes(cards: Sequence[ResultCard]) -> list[tuple[ResultCard, ResultCard]]:
    """Runs of one seed of which a figure differs by half a point: another machine may turn a sample or two."""

    def figures(card: ResultCard) -> dict[tuple[str, str], float | None]:
        return {(decoder, name): value for decoder, of in card.metrics.items() for name, value in of.items()}

    def same(a: float | None, b: float | None) -> bool:
        return a == b if a is None or b is None else abs(a - b) < 0.005

    def agree(x: Mapping[Any, float | None], y: Mapping[Any, float | None]) -> bool:
        return x.keys() == y.keys() and all(same(x[key], y[key]) for key in x)

    pairs = combinations(cards, 2)
    return [(a, b) for a, b in pairs if a.seed == b.seed and not agree(figures(a), figures(b))]


def _settings(card: ResultCard) -> dict[str, object]:
    """What was set for a run, flat, by dotted key."""

    def flat(value: object, key: str) -> list[tuple[str, object]]:
        if isinstance(value, Mapping) and value and not key.endswith("objective"):
            return [pair for k, v in value.items() for pair in flat(v, f"{key}.{k}".lstrip("."))]
        return [(key.removeprefix("init_args."), value)] if key not in ("", "class_path") else []  # the method says it

    return {
        "method": card.method,
        **{key: card.data.get(key) for key in _OF_ROW},
        **dict(flat(card.method_settings, "")),
    }


def _circumstances(card: ResultCard) -> dict[str, object]:
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


def _split_by(cards: Sequence[ResultCard], facts: Sequence[Mapping[str, object]]) -> dict[str, list[ResultCard]]:
    """Cards by the facts in which they differ, in words; all under "" where they agree."""

    def words(key: str, value: object) -> str:
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if key == "tree" and value is not None:
            return f"{text} tree"
        return text if key == "method" else f"{key} {text}"

    keys = dict.fromkeys(key for each in facts for key in each)
    differing = [key for key in keys if len({json.dumps(each.get(key), sort_keys=True) for each in facts}) > 1]
    groups: dict[str, list[ResultCard]] = {}
    for card, each in zip(cards, facts, strict=True):
        groups.setdefault(", ".join(words(key, each.get(key)) for key in differing), []).append(card)
    return groups


def chosen(cards: Sequence[ResultCard], wishes: Sequence[str], control: str | None = None) -> list[ResultCard]:
    """The cards, with rows chosen on val in the place of those they are chosen from.

    Args:
        cards: Of every run.
        wishes: ``NAME=PATTERN,PATTERN…`` each: of the rows like any of the patterns (``*`` and ``?``) the one with the
            best leaf accuracy on val becomes NAME, draw by draw; of equals the one of the first pattern, as listed.
        control: A row that stays in the table, though it is one of them.

    Raises:
        UserError: A wish is not one, no row is like it, or a run was not selected on val.
    """
    replaced, made = set[int](), list[ResultCard]()
    for wish in wishes:
        name, equals, listed = wish.partition("=")
        patterns = listed.split(",")
        if not name or not equals or not all(patterns):
            raise UserError(f"--choose {wish}: expected NAME=PATTERN, or several with commas")
        draws: dict[str, list[tuple[float, int, ResultCard]]] = {}
        for card in cards:
            place = next((i for i, pattern in enumerate(patterns) if fnmatchcase(card.row, pattern)), None)
            if place is None:
                continue
            if _CRITERION not in card.val:
                raise UserError(f"--choose {name}: {card.row}, seed {card.seed}, has no figures of val to choose by")
            draws.setdefault(repr((agreement(card), card.seed)), []).append((-card.val[_CRITERION], place, card))
            if card.row != control:
                replaced.add(id(card))
        if not draws:
            rows = ", ".join(dict.fromkeys(card.row for card in cards))
            raise UserError(f"--choose {name}: no row is like {listed}", hint=f"Rows: {rows}.")
        best = [min(found, key=lambda entry: entry[:2])[2] for found in draws.values()]
        # What was set differs from draw to draw: it is the rule that the row stands for.
        made += [replace(c, row=name, method=name, tuned_on="val", method_settings={"of": listed}) for c in best]
    return [*(card for card in cards if id(card) not in replaced), *made]
