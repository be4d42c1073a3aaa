"""What each row costs, and what it stands on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hierfit.report.blocks import Block, Sheet
from hierfit.report.evidence import Evidence
from hierfit.results.summary import tables
from hierfit.results.table import Table


def section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of every report."""
    cards = evidence.of_table
    devices = ", ".join(dict.fromkeys(str(card.cost.get("device", "?")) for card in cards))
    table = replace(
        tables(cards, choice="cost")[0],
        title="Parameters that are trained, their share of all in %, seconds of training and peak memory of the "
        f"process, mean ± 95 % t-interval over seeds, on {devices}",
        reading="Times of runs that shared the machine are not to be compared.",
    )
    return "What it took, and all that is needed to make it again.", (Sheet("cost", table), _facts(evidence))


def _facts(evidence: Evidence) -> Sheet:
    card = evidence.focus.card
    data, backbone = card.data, card.backbone
    rows = {
        "row": f"{card.row} ({card.method}), experiment {card.experiment}, seed {card.seed}",
        "run folder": str(evidence.focus.folder),
        "data": f"{data.get('card')}, version {data.get('card_version')}, {data.get('card_fingerprint')}",
        "protocol": str(data.get("protocol", "all classes")),
        "images": _pairs(data.get("images")),
        "draw": _pairs(data.get("draw")),
        "tree": f"{data.get('tree', 'true')}, {data.get('taxonomy_fingerprint')}",
        "backbone": f"{backbone.get('source')}, {str(backbone.get('fingerprint'))[:16]}",
        "selected on": card.selected_on,
        "tuned on": card.tuned_on,
        "versions": _pairs(card.versions),
    }
    for key, value in (card.method_settings.get("init_args") or {}).items():
        rows[f"model.{key}"] = value if isinstance(value, str) else json.dumps(value)
    table = Table.of("Data, draws, versions and settings of this run", ("", ""), rows.items())
    return Sheet("origin", table, folded=True, brief=0)


def _pairs(found: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in (found or {}).items())
