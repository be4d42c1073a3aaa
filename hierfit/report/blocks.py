"""What a report is made of: sections of words, tables, figures and pictures, whatever they are shown on.

The web page, the terminal and W&B show the same sections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from hierfit.errors import UserError
from hierfit.results.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = 400
"""Test images that a page shows to look through, unless told otherwise."""

Drawn: TypeAlias = "tuple[Figure, Mapping[str, Sequence[str]]]"
"""A figure, and for the gid of each group of marks what each mark says when it is pointed at, in drawing order."""


@dataclass(frozen=True)
class Words:
    """A paragraph, or a note that qualifies what stands above it."""

    text: str
    is_note: bool = False


@dataclass(frozen=True)
class Findings:
    """Sentences that each say what an interval says."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Tile:
    """A headline figure, its interval (or why there is none), its difference to the control, and what it is."""

    label: str
    value: str
    interval: str = ""
    against: str = ""
    meaning: str = ""


@dataclass(frozen=True)
class Tiles:
    """Headline figures side by side."""

    tiles: tuple[Tile, ...]


@dataclass(frozen=True)
class Sheet:
    """A table and how it is laid out.

    Attributes:
        name: Of the file or W&B table, such as ``sibling_pairs``.
        table: Its title and how to read it are the caption.
        folded: Closed at first on a page: a table few will want.
        narrow: Fits beside a figure.
        brief: Rows that a terminal shows; None for all, 0 for none.
        terms: What its words mean, by word; beside them a page explains every metric that is a column.
    """

    name: str
    table: Table
    folded: bool = False
    narrow: bool = False
    brief: int | None = None
    terms: Mapping[str, str] = field(default_factory=dict)

    @property
    def explained(self) -> dict[str, str]:
        """What its words mean, and every metric that is a column."""
        metrics = {column.header: meaning(column) for column in self.table.columns}
        return {**{header: text for header, text in metrics.items() if text}, **self.terms}

    @property
    def caption(self) -> str:
        """What it shows, and how to read it."""
        return f"{self.table.title}. {self.table.reading}".strip()


@dataclass(frozen=True)
class Picture:
    """A figure that matplotlib draws when it is wanted.

    Attributes:
        name: Of its file, such as ``confusion``.
        caption: Below it.
        alt: What those who cannot see it are told.
        draw: Makes the drawing; see `drawn`.
        wide: Takes the whole width of a page.
        finder: Its marks can be searched for by their texts.
    """

    name: str
    caption: str
    alt: str
    draw: Callable[[], Drawn]
    wide: bool = False
    finder: bool = False

    def drawn(self) -> Drawn:
        """The drawing, with names as they are: a ``$`` in one starts no formula.

        Raises:
            UserError: matplotlib is not installed.
        """
        try:
            from matplotlib import rc_context
        except ImportError:
            raise UserError("Figures need matplotlib.", hint='pip install -c constraints.txt -e ".[plot]"') from None
        with rc_context({"text.parse_math": False}):
            return self.draw()


@dataclass(frozen=True)
class Thumbnail:
    """A small JPEG and what it shows."""

    jpeg: bytes = field(repr=False)
    alt: str
    caption: str = ""


@dataclass(frozen=True)
class Strip:
    """Pictures in a row under a heading."""

    heading: str
    text: str
    thumbnails: tuple[Thumbnail, ...]


@dataclass(frozen=True)
class Gallery:
    """Strips of pictures below each other."""

    name: str
    caption: str
    strips: tuple[Strip, ...]


@dataclass(frozen=True)
class Explorer:
    """A tree to walk through and test images to look through, for a page alone; `page.js` says what it reads.

    Attributes:
        name: Of the block.
        caption: How to read the tree.
        data: What is drawn and listed, as JSON can hold it.
        pictures: JPEG of some of the images, by their place in the list.
        missing: Why there are no pictures, if so.
    """

    name: str
    caption: str
    data: Mapping[str, Any]
    pictures: Mapping[int, bytes] = field(repr=False)
    missing: str = ""


Block: TypeAlias = Words | Findings | Tiles | Sheet | Picture | Gallery | Explorer


@dataclass(frozen=True)
class Section:
    """A part of a report: its place in the page, a title, the finding in a sentence or two, and what shows it."""

    slug: str
    title: str
    lead: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True)
class Omitted:
    """A section that does not apply, and why."""

    title: str
    why: str


def shown_of(count: int, shown: int) -> str:
    """`` (8 of 20)`` for a title where not all is shown, else nothing."""
    return f" ({shown} of {count})" if count > shown else ""


_METRICS = {
    "leaf_accuracy": "share of images whose leaf is right: the best of all leaves, at whatever depth they end",
    "leaf_accuracy_macro": "leaf accuracy, every class counting alike",
    "fpa": "full-path accuracy: share of images with every labelled level right",
    "tice": "tree inconsistency error: share of answers that are no path of the tree, right or wrong; lower is better, "
    "and an answer that never changes has 0",
    "wap_accuracy": "mean accuracy of the levels, weighted by their numbers of nodes",
    "wap_precision": "mean precision of the nodes, weighted likewise",
    "tree_distance": "edges between the answered and the true node, mean over all images; lower is better",
    "mistake_severity": "levels from the true node up to where the paths part, mean over wrong images only",
    "hierarchical_precision": "share of the answered nodes that lie on the true path",
    "hierarchical_recall": "share of the true path's nodes that are answered",
    "hierarchical_f1": "harmonic mean of hierarchical precision and recall",
    "hca": "share of images whose leaf is right and whose every true node is the best among its siblings",
    "mta": "accuracy over random cuts through the tree, mean of the cuts",
    "ece": "expected calibration error: mean gap between confidence and accuracy; lower is better",
    "haurc": "area below error over information kept; lower is better",
    "base": "leaf accuracy on the classes trained on, among themselves",
    "novel": "leaf accuracy on the classes held back, among themselves",
    "h": "harmonic mean of base and novel",
    "generalised_base": "the same with all classes as candidates",
    "generalised_novel": "the same with all classes as candidates",
    "generalised_h": "the same with all classes as candidates",
    "ausuc": "area under the curve of novel over base accuracy as a bias moves from one to the other",
    "params": "parameters that are trained",
    "share": "trained parameters in % of all",
    "time": "seconds of training",
    "memory": "peak memory of the process",
}
_DECODERS = {
    "decoded": "paths by the decoder that validation chose",
    "belief": "by the most probable node of each level",
    "best_path": "by the best path",
    "rollup": "by the path of the best leaf",
    "top_down": "by the best child at every step",
    "bayes": "by the leaf of least expected distance",
}


def meaning(column: Column) -> str:
    """What a column of a metric holds, by its key; empty of any other."""
    metric, _, decoder = column.key.partition("@")
    if metric.startswith("accuracy/"):
        return f"share of images whose {metric.removeprefix('accuracy/')} is right, of those that have one"
    found = _METRICS.get(metric, "")
    read = _DECODERS.get(decoder, "") if found and metric not in ("leaf_accuracy", "ece", "haurc") else ""
    return f"{found} ({read})" if read else found
