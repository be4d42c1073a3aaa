"""What a report is made from: result cards, and what the runs it looks into have left on disk."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

import torch
import yaml
from torch import Tensor

from hierfit.errors import UserError
from hierfit.geometry.embeddings import Embeddings
from hierfit.report.blocks import PICTURES, Thumbnail
from hierfit.report.decisions import Breaks, Decisions
from hierfit.results.card import ResultCard
from hierfit.results.columns import figure
from hierfit.results.logits import TestLogits
from hierfit.results.rows import agreement, told_apart
from hierfit.results.runs import find_cards
from hierfit.results.summary import tables
from hierfit.results.table import Table

if TYPE_CHECKING:
    from hierfit.data.samples import Images

_HEADLINE = "fpa@decoded"  # by which the row to look into is chosen where none is named
_LONGER_SIDE = 160  # pixels of a picture: sharp where small, and large enough to see what it shows
_QUALITY = 78


@dataclass(frozen=True)
class TestPictures:
    """Test images by their keys, in the order of the split; or why they cannot be shown."""

    __test__ = False  # pytest takes it for tests

    keys: Sequence[str] = ()
    images: Images | None = None
    missing: str = ""

    @classmethod
    def of(cls, settings: Mapping[str, Any], card: ResultCard) -> TestPictures:
        """Through the data card and root of a run's configuration; no picture is read yet."""
        data = settings.get("data")
        if not isinstance(data, dict) or not data.get("card"):
            return cls(missing="The run's configuration does not say where its images lie.")
        from hierfit.data.card import load_card
        from hierfit.data.splits import draw_fingerprint
        from hierfit.data.table import read_table

        try:
            table = read_table(load_card(data["card"]), data.get("root"))
        except UserError as error:
            return cls(missing=f"The images cannot be found any more: {error.summary}.")
        if table.images is None:
            return cls(missing="The data set holds features, not images.")
        keys = table.splits["test"].keys
        if draw_fingerprint(keys) != (card.data.get("draw") or {}).get("test"):
            return cls(missing="The test images found now are not those that the run was tested on.")
        return cls(keys, table.images)

    def jpeg(self, index: int) -> bytes | None:
        """The image at a row of the test split, at most 160 pixels wide and high; None where it cannot be had."""
        if self.images is None:
            return None
        try:
            picture = self.images.load(self.keys[index])
        except UserError:
            return None
        picture.thumbnail((_LONGER_SIDE, _LONGER_SIDE))
        file = io.BytesIO()
        picture.save(file, "JPEG", quality=_QUALITY)
        return file.getvalue()

    def thumbnails(self, indices: Iterable[int], alt: str, caption: str) -> list[Thumbnail]:
        """Those of some rows that can be had, with words."""
        return [Thumbnail(jpeg, alt, caption) for jpeg in map(self.jpeg, indices) if jpeg is not None]


@dataclass(frozen=True)
class FinishedRun:
    """A finished run's folder; its files are read when they are asked for, once."""

    folder: Path
    card: ResultCard

    @cached_property
    def reading(self) -> Decisions:
        """What its test logits say; raises `UserError` where it saved none."""
        return Decisions.of(TestLogits.read(self.folder))

    @cached_property
    def is_readable(self) -> bool:
        """Whether its test logits can be read, and are of some image."""
        try:
            return bool(len(self.reading.target))
        except UserError:
            return False

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
        except (OSError, ValueError, KeyError, TypeError, csv.Error):
            return {}
        return found

    @cached_property
    def pictures(self) -> TestPictures:
        """Its test images, where they can still be found."""
        return TestPictures.of(self.settings, self.card)

    def labels(self, indices: Tensor) -> Tensor:
        """Deepest true node of some rows of the test split ``[k]``; −1 for an image without a label."""
        labels = dict(zip(self.reading.indices, self.reading.target.amax(1).tolist(), strict=True))
        return torch.tensor([labels.get(index, -1) for index in indices.tolist()], dtype=torch.long)


@dataclass(frozen=True)
class Evidence:
    """All that the sections of a report may look at."""

    cards: Sequence[ResultCard]  # of every run
    # Means over seeds, with differences to the control: one for each set of runs that may be compared
    tables: Sequence[Table]
    table: Table  # the one that the focus is part of
    control: str | None  # name of the row that others are held against; None without
    focus: FinishedRun  # the run that is looked into
    # Runs on the same data, draw and seed, the focus among them: the control first, the focus last
    beside: Sequence[FinishedRun]
    pictures: int = PICTURES  # how many test images may be shown to look through

    def read(self) -> list[FinishedRun]:
        """The runs beside the focus whose test logits can be read on its levels, and it itself.

        Raises `UserError` where those of the focus cannot be read.
        """
        _ = self.focus.reading
        return [run for run in self.beside if run.card.levels == self.focus.card.levels and run.is_readable]

    @property
    def pair(self) -> list[FinishedRun]:
        """The focus, and the control's run beside it, if any."""
        return [self.focus, *(run for run in self.beside if run.card.row == self.control and run is not self.focus)]

    @property
    def alike(self) -> FinishedRun | None:
        """The control's run, where it and the focus tell of the same images on the same tree."""
        for run in self.pair[1:]:
            if run.is_readable and self.focus.is_readable:
                ours, theirs = self.focus.reading, run.reading
                return run if ours.taxonomy == theirs.taxonomy and ours.target.equal(theirs.target) else None
        return None

    @property
    def of_table(self) -> list[ResultCard]:
        """Cards of the table that the focus is part of."""
        return [card for card in self.cards if agreement(card) == agreement(self.focus.card)]


def gather(
    paths: Sequence[Path], row: str | None = None, control: str | None = None, pictures: int = PICTURES
) -> Evidence:
    """Reads the cards below some folders and chooses what to look into; raises `UserError` where nothing has finished.

    Args:
        paths: Run folders, grids, or result cards.
        row: To look into, at its most shots and lowest seed. If None, the one with the best mean of the headline figure
            among those that are no control of another.
        control: Row to hold it against. If None, one with no more trained parameters: of the same method, else one
            without training, zero-shot first.
        pictures: How many test images may be shown to look through.
    """
    files = list({file.resolve(): file for path in paths for file in find_cards(path)}.values())
    read = [(file.parent, card) for file in files if (card := ResultCard.read(file)).metrics]
    if not read:
        raise UserError("No run here was tested, so there is nothing to report.", hint="hierfit test tests one.")
    cards, _ = told_apart([card for _, card in read])
    runs = [FinishedRun(folder, card) for (folder, _), card in zip(read, cards, strict=True)]
    names = list(dict.fromkeys(card.row for card in cards))
    for name in (row, control):
        if name not in (None, *names):
            raise UserError(f"No run has the row {name!r}.", hint=f"Rows: {', '.join(names)}.")
    own = [run for run in runs if run.folder.parent.name != "targets"] or runs
    focus = _focus(own, row)
    place, seed, draw = agreement(focus.card), focus.card.seed, focus.card.data.get("draw")
    same_draw = [run for run in reversed(own) if (run.card.seed, run.card.data.get("draw")) == (seed, draw)]
    beside = {run.card.row: run for run in (*same_draw, focus) if agreement(run.card) == place}
    against = control or _control(focus.card, [beside[name].card for name in names if name in beside])
    order = sorted(beside, key=lambda name: (name == focus.card.row, name != against, names.index(name)))
    (table,) = tables([card for card in cards if agreement(card) == place], against if against in beside else None)
    try:
        every = tables(cards, against)
    except UserError:
        if control is not None:
            raise
        every = tables(cards)
    return Evidence(cards, every, table, against, focus, [beside[name] for name in order], pictures)


def _focus(runs: Sequence[FinishedRun], row: str | None) -> FinishedRun:
    """Of the row, or of those that are no control: at the most shots the best row, by its mean, at its lowest seed."""
    own = [run for run in runs if row is None and run.folder.parent.name not in ("controls", "heads")]
    chosen = own or [run for run in runs if row in (None, run.card.row)]
    shots = [math.inf if run.card.data.get("shots") is None else run.card.data["shots"] for run in chosen]
    chosen = [run for run, count in zip(chosen, shots, strict=True) if count == max(shots)]

    def mean(row: str) -> float:
        return fmean(figure(run.card, _HEADLINE) or 0.0 for run in chosen if run.card.row == row)

    best = max(dict.fromkeys(run.card.row for run in chosen), key=mean)
    return min((run for run in chosen if run.card.row == best), key=lambda run: run.card.seed)


def _control(focus: ResultCard, beside: Sequence[ResultCard]) -> str | None:
    """With no more trained parameters: of the same method, else one without training, zero-shot first."""
    trained = focus.parameters.get("trainable", 0)
    others = [
        card
        for card in beside
        if card.row != focus.row
        and card.parameters.get("trainable", 0) <= trained
        and (card.method == focus.method or (trained and card.selected_on == "nothing"))
    ]
    others.sort(key=lambda card: (card.method != focus.method, card.method != "ZeroShot"))
    return others[0].row if others else None
