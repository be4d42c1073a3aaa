"""What each row costs, and what it stands on."""

from __future__ import annotations

import json
from typing import Any

from hierfit.report.blocks import Section, Table
from hierfit.report.evidence import Evidence
from hierfit.results.group import agreement, summarise
from hierfit.results.sheet import sheets


def section(evidence: Evidence) -> Section:
    """Of every report."""
    place = agreement(evidence.focus.card)
    cards = [card for card in evidence.cards if agreement(card) == place]
    sheet = sheets(summarise(cards, wanted="cost")[0])[0]
    devices = ", ".join(dict.fromkeys(str(card.cost.get("device", "?")) for card in cards))
    times = Table(
        "cost",
        "Parameters that are trained, their share of all in %, seconds of training and peak memory of the process, "
        f"mean ± 95 % t-interval over seeds, on {devices}. Times of runs that shared the machine are not to be "
        "compared.",
        sheet.header,
        sheet.rows,
    )
    return Section(
        "cost", "Cost and origin", "What it took, and all that is needed to make it again.", (times, _facts(evidence))
    )


def _facts(evidence: Evidence) -> Table:
    card = evidence.focus.card
    rows: list[tuple[str, str]] = [
        ("row", f"{card.row} ({card.method}), experiment {card.experiment}, seed {card.seed}"),
        ("run folder", str(evidence.focus.folder)),
        (
            "data",
            f"{card.data.get('card')}, version {card.data.get('card_version')}, {card.data.get('card_fingerprint')}",
        ),
        ("protocol", str(card.data.get("protocol", "all classes"))),
        ("images", _pairs(card.data.get("images"))),
        ("draw", _pairs(card.data.get("draw"))),
        ("tree", f"{card.data.get('tree', 'true')}, {card.data.get('taxonomy_fingerprint')}"),
        ("backbone", f"{card.backbone.get('source')}, {str(card.backbone.get('fingerprint'))[:16]}"),
        ("selected on", card.selected_on),
        ("tuned on", card.tuned_on),
        ("versions", _pairs(card.versions)),
    ]
    settings = card.method_settings.get("init_args") or {}
    rows += [
        (f"model.{key}", value if isinstance(value, str) else json.dumps(value)) for key, value in settings.items()
    ]
    return Table(
        "origin",
        "Data, draws, versions and settings of this run.",
        ("", ""),
        tuple(rows),
        labels=2,
        folded=True,
        brief=0,
    )


def _pairs(found: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in (found or {}).items())
