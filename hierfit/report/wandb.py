"""What W&B gets of a finished run beside its curves: every figure to compare runs by, tables, pictures, the files."""

from __future__ import annotations

import io
import math
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wandb
from PIL import Image

from hierfit.errors import UserError
from hierfit.report.blocks import Gallery, Picture, Sheet
from hierfit.report.evidence import gather
from hierfit.report.page import page
from hierfit.report.sections import sections
from hierfit.results.card import ResultCard

if TYPE_CHECKING:
    from wandb.sdk.wandb_run import Run

_SENT = ("result.json", "taxonomy.csv", "config.yaml", "metrics.csv")


def log_report(run: Run, folder: Path, card: ResultCard) -> None:
    """Sends what ``hierfit report`` shows of a run.

    Facts go into the W&B run's configuration, by which its page groups and filters; figures into its summary, by which
    it sorts; tables and pictures beside the curves; the report as a page; and the small files as an artifact.
    """
    run.config.update(facts(card), allow_val_change=True)
    run.summary.update(figures(card))
    try:
        run.log(_report_of(folder))
    except UserError as error:  # matplotlib is not installed: the run itself is whole
        print(f"W&B gets no figures: {error.summary}")
    artifact = wandb.Artifact(f"run-{run.id}", type="result", metadata=facts(card))
    for path in (folder / name for name in _SENT):
        if path.is_file():
            artifact.add_file(str(path))
    run.log_artifact(artifact)


def facts(card: ResultCard) -> dict[str, Any]:
    """What a run was: names, seed, data and draws, shots, backbone, versions."""
    names = ("row", "experiment", "method", "seed", "selected_on", "tuned_on")
    found: dict[str, Any] = {name: getattr(card, name) for name in names}
    found |= {name: dict(getattr(card, name)) for name in ("data", "backbone", "versions")}
    return {**found, "shots": card.data.get("shots"), "device": card.cost.get("device")}


def figures(card: ResultCard) -> dict[str, float]:
    """What a run measured, as ``test/<decoder>/<metric>``, and what it cost; undefined figures are left out."""
    groups = {f"test/{decoder}": named for decoder, named in card.metrics.items()}
    groups |= {"cost": card.cost, "parameters": card.parameters, "selected": card.val}
    found = {f"{group}/{name}": value for group, named in groups.items() for name, value in named.items()}
    return {name: value for name, value in found.items() if isinstance(value, int | float) and math.isfinite(value)}


def _report_of(folder: Path) -> dict[str, Any]:
    evidence = gather([folder])
    found = sections(evidence)
    logged: dict[str, Any] = {"report": wandb.Html(page(evidence, found, [folder]), inject=False)}
    for block in (block for section in found for block in section.blocks):
        if isinstance(block, Sheet):
            logged[f"tables/{block.name}"] = _wandb_table(block)
        elif isinstance(block, Picture):
            file = io.BytesIO()
            block.save(file, "png", dpi=130)
            logged[f"figures/{block.name}"] = wandb.Image(Image.open(file), caption=block.caption)
        elif isinstance(block, Gallery):
            rows = [
                [strip.heading, picture.alt, wandb.Image(Image.open(io.BytesIO(picture.jpeg)))]
                for strip in block.strips
                for picture in strip.thumbnails
            ]
            logged[f"pictures/{block.name}"] = wandb.Table(columns=["of", "shows", "image"], data=rows)
    return logged


def _wandb_table(sheet: Sheet) -> wandb.Table:
    """As people read it, but for plain figures, by which W&B sorts; columns of one name are told apart."""
    table, times, columns = sheet.table, Counter[str](), list[str | int]()
    for name in table.header:
        times[name] += 1
        columns.append((name or "row") + (f" {times[name]}" if times[name] > 1 else ""))
    data = [
        [c.scaled(cell.value) if isinstance(cell.value, int | float) else cell.text(c) for c, cell in cells]
        for cells in (zip(table.columns, row, strict=True) for row in table.rows)
    ]
    return wandb.Table(columns=columns, data=data, allow_mixed_types=True)
