"""Rows made of others: of each draw the run that its validation images put first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.results.summary import agreement

_CRITERION = "val/leaf_accuracy"


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
