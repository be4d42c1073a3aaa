"""What a report is made from: result cards, and what the runs it looks into have left on disk."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
import yaml
from torch import Tensor

from hierfit.decoding import belief, leaf_rollup
from hierfit.errors import UserError
from hierfit.geometry.embeddings import Embeddings
from hierfit.metrics.served import Served, serve
from hierfit.report.blocks import PICTURES
from hierfit.report.breaks import Breaks
from hierfit.report.pictures import Pictures
from hierfit.results.card import ResultCard
from hierfit.results.logits import TestLogits
from hierfit.results.rows import agreement, told_apart
from hierfit.results.runs import find_cards
from hierfit.results.summary import tables
from hierfit.results.table import Table
from hierfit.taxonomy import Taxonomy

HEADLINE = ("decoded", "fpa")
"""Decoder and metric by which the row to look into is chosen where none is named."""

_VALUES_AT_ONCE = 1 << 22  # logits read at once: 16 MiB


@dataclass(frozen=True)
class Reading:
    """What remains of test logits once they are read: O(n·L) numbers, however many nodes there are.

    Attributes:
        taxonomy: The run's tree.
        target: True node ids ``[n, L]``, −1 where unknown or ended.
        best_leaf: Path of the leaf with the best logit ``[n, L]``.
        decoded: Path of the most probable leaf by the belief ``[n, L]``.
        sure: Probability of each node of ``decoded`` by the belief ``[n, L]``; 0 past the leaf.
        truth: The same of the nodes of ``target``.
        served: The belief's descent and its probabilities.
        indices: Row of each sample in the test split.
    """

    taxonomy: Taxonomy
    target: Tensor
    best_leaf: Tensor
    decoded: Tensor
    sure: Tensor
    truth: Tensor
    served: Served
    indices: list[int]

    @classmethod
    def of(cls, logits: TestLogits) -> Reading:
        """In one pass: O(n·N) time, memory of one batch.

        Raises:
            UserError: Logits hold NaN or +inf.
        """
        tree, calibration = logits.taxonomy, logits.calibration
        none = torch.zeros(0, tree.num_levels, dtype=torch.long)
        best, decoded, sure, truth = [none], [none], [none.float()], [none.float()]

        def batches() -> Iterable[tuple[Tensor, Tensor]]:
            for batch, target in logits.batches(max(1, _VALUES_AT_ONCE // tree.num_nodes)):
                nodes = belief(batch, tree, calibration).nodes
                best.append(leaf_rollup(batch, tree))
                decoded.append(leaf_rollup(nodes, tree))
                for found, path in ((sure, decoded[-1]), (truth, target)):
                    found.append(nodes.gather(1, path.clamp_min(0)).masked_fill(path < 0, 0))
                yield batch, target

        served = serve(batches(), tree, calibration)
        best_leaf, path, of_path, of_truth = (torch.cat(each) for each in (best, decoded, sure, truth))
        return cls(tree, served.target, best_leaf, path, of_path, of_truth, served, logits.indices.tolist())


@dataclass(frozen=True)
class Run:
    """A finished run's folder; its files are read when they are asked for, once."""

    folder: Path
    card: ResultCard

    @cached_property
    def reading(self) -> Reading:
        """What its test logits say; raises `UserError` where it saved none."""
        return Reading.of(TestLogits.read(self.folder))

    @cached_property
    def breaks(self) -> Breaks:
        """Where its paths leave the true ones."""
        return Breaks.of(self.reading.decoded, self.reading.target, self.reading.taxonomy)

    @cached_property
    def embeddings(self) -> Embeddings | None:
        """Points of its latent space, where the method has one."""
        return Embeddings.read(self.folder)

    @cached_property
    def settings(self) -> Mapping[str, Any]:
        """Its configuration; empty where it cannot be read."""
        try:
            found = yaml.safe_load((self.folder / "config.yaml").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError, AttributeError, yaml.YAMLError):
            return {}
        return found if isinstance(found, dict) else {}

    @cached_property
    def curves(self) -> Mapping[str, Sequence[tuple[int, float]]]:
        """``(step, value)`` of everything logged in training, by name; empty where nothing was."""
        found: dict[str, list[tuple[int, float]]] = {}
        try:
            with (self.folder / "metrics.csv").open(newline="", encoding="utf-8") as file:
                for line in csv.DictReader(file):
                    for name, text in line.items():
                        if text and name not in ("epoch", "step") and math.isfinite(value := float(text)):
                            found.setdefault(name, []).append((int(line["step"]) + 1, value))
        except (OSError, UnicodeDecodeError, ValueError, KeyError, TypeError, csv.Error):
            return {}
        return found

    @cached_property
    def pictures(self) -> Pictures:
        """Its test images, where they can still be found."""
        return Pictures.of(self.settings, self.card)

    @cached_property
    def is_readable(self) -> bool:
        """Whether its test logits can be read, and are of some image."""
        try:
            return bool(len(self.reading.target))
        except UserError:
            return False


@dataclass(frozen=True)
class Evidence:
    """All that the sections of a report may look at.

    Attributes:
        cards: Of every run.
        tables: Means over seeds, with differences to the control: one for each set of runs that may be compared.
        table: The one that the focus is part of.
        control: Name of the row that others are held against; None without.
        focus: The run that is looked into.
        beside: Runs on the same data, draw and seed, the focus among them: the control first, the focus last.
        pictures: How many test images may be shown to look through.
    """

    cards: tuple[ResultCard, ...]
    tables: tuple[Table, ...]
    table: Table
    control: str | None
    focus: Run
    beside: tuple[Run, ...]
    pictures: int = PICTURES

    def read(self, most: int | None = None) -> list[Run]:
        """The runs beside the focus whose test logits can be read on its levels, and it itself: the last ``most``.

        Raises:
            UserError: Those of the focus cannot be read.
        """
        _ = self.focus.reading
        found = [run for run in self.beside if run.card.levels == self.focus.card.levels and run.is_readable]
        return found[-most:] if most else found

    @property
    def of_table(self) -> list[ResultCard]:
        """Cards of the table that the focus is part of."""
        return [card for card in self.cards if agreement(card) == agreement(self.focus.card)]


def gather(
    paths: Sequence[Path], row: str | None = None, control: str | None = None, pictures: int = PICTURES
) -> Evidence:
    """Reads the cards below some folders and chooses what to look into.

    Args:
        paths: Run folders, grids, or result cards.
        row: Name of the row to look into. If None, the one with the best mean of the headline figure among those that
            are no control of another. It is looked into at its most shots and lowest seed.
        control: Name of the row to hold it against. If None, a row with no more trained parameters: of the same
            method, else one without training, zero-shot first.
        pictures: How many test images may be shown to look through.

    Raises:
        UserError: Nothing has finished there, or there is no such row; see also `tables`.
    """
    files = list({file.resolve(): file for path in paths for file in find_cards(path)}.values())
    runs = [run for run in (Run(file.parent, ResultCard.read(file)) for file in files) if run.card.metrics]
    if not runs:
        raise UserError("No run here was tested, so there is nothing to report.", hint="hierfit test tests one.")
    runs = _told_apart(runs)
    names = list(dict.fromkeys(run.card.row for run in runs))
    unknown = [name for name in (row, control) if name is not None and name not in names]
    if unknown:
        raise UserError(f"No run has the row {unknown[0]!r}.", hint=f"Rows: {', '.join(names)}.")
    own = [run for run in runs if run.folder.parent.name != "targets"] or runs
    focus = _focus(own, row)
    beside = {run.card.row: run for run in reversed(own) if _same_draw(run.card, focus.card)} | {focus.card.row: focus}
    given = control is not None
    control = control or _control(focus.card, [beside[name].card for name in names if name in beside])
    order = sorted(
        (name for name in names if name in beside), key=lambda name: (name == focus.card.row, name != control)
    )
    cards = [run.card for run in runs]
    place = agreement(focus.card)
    (table,) = tables([card for card in cards if agreement(card) == place], control if control in beside else None)
    try:
        every = tables(cards, control)
    except UserError:
        if given:
            raise
        every = tables(cards)
    return Evidence(tuple(cards), tuple(every), table, control, focus, tuple(beside[name] for name in order), pictures)


def _told_apart(runs: Sequence[Run]) -> list[Run]:
    """Runs with names that say what differs between rows of one table."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        groups.setdefault(repr(agreement(run.card)), []).append(run)
    cards: dict[Path, ResultCard] = {}
    for group in groups.values():
        named, _ = told_apart([run.card for run in group])
        cards |= {run.folder: card for run, card in zip(group, named, strict=True)}
    return [Run(run.folder, cards[run.folder]) for run in runs]


def _same_draw(a: ResultCard, b: ResultCard) -> bool:
    return agreement(a) == agreement(b) and a.seed == b.seed and a.data.get("draw") == b.data.get("draw")


def _focus(runs: Sequence[Run], row: str | None) -> Run:
    chosen = [run for run in runs if row is None or run.card.row == row]
    if row is None:
        chosen = [run for run in chosen if run.folder.parent.name not in ("controls", "heads")] or chosen
    most = max(_shots(run.card) for run in chosen)
    rows: dict[str, list[Run]] = {}
    for run in chosen:
        if _shots(run.card) == most:
            rows.setdefault(run.card.row, []).append(run)
    best = max(rows.values(), key=lambda found: fmean(_headline(run.card) for run in found))
    return min(best, key=lambda run: run.card.seed)


def _control(focus: ResultCard, beside: Sequence[ResultCard]) -> str | None:
    trained = focus.parameters.get("trainable", 0)
    others = [card for card in beside if card.row != focus.row and card.parameters.get("trainable", 0) <= trained]
    alike = [card.row for card in others if card.method == focus.method]
    untrained = [card for card in others if card.selected_on == "nothing" and trained]
    untrained.sort(key=lambda card: card.method != "ZeroShot")
    return next(iter([*alike, *(card.row for card in untrained)]), None)


def _headline(card: ResultCard) -> float:
    decoder, metric = HEADLINE
    return card.metrics.get(decoder, {}).get(metric) or 0.0


def _shots(card: ResultCard) -> float:
    shots = card.data.get("shots")
    return math.inf if shots is None else float(shots)
