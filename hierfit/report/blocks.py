"""What a report is made of: sections of words, tables, figures and pictures, whatever they are shown on.

The web page, the terminal and W&B show the same sections.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple, TypeAlias

import yaml

from hierfit.errors import UserError
from hierfit.results.table import Column, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PICTURES = 400
"""Test images that a page shows to look through, unless told otherwise."""

Drawing: TypeAlias = "tuple[Figure, Mapping[str, Sequence[str]]]"
"""A figure, and for the gid of each group of marks what each mark says when it is pointed at, in drawing order."""


class Paragraph(NamedTuple):
    """A paragraph, or a note that qualifies what stands above it."""

    text: str
    is_note: bool = False


class Findings(NamedTuple):
    """Sentences that each say what an interval says."""

    sentences: Sequence[str]


class Tile(NamedTuple):
    """A headline figure, its interval (or why there is none), its difference to the control, and what it is."""

    label: str
    value: str
    interval: str
    against: str
    meaning: str


class Tiles(NamedTuple):
    """Headline figures side by side."""

    tiles: Sequence[Tile]


class Sheet(NamedTuple):
    """A table and how it is laid out."""

    name: str  # of the file or W&B table, such as ``sibling_pairs``
    table: Table  # its title and how to read it are the caption
    folded: bool = False  # closed at first on a page: a table few will want
    narrow: bool = False  # fits beside a figure
    brief: int | None = None  # rows that a terminal shows; None for all, 0 for none

    @property
    def explained(self) -> dict[str, str]:
        """What every metric that is a column means, and the sheet's own words."""
        metrics = {column.header: text for column in self.table.columns if (text := meaning(column))}
        return {**metrics, **_glossary()["sheets"].get(self.name, {})}

    @property
    def caption(self) -> str:
        """What it shows, and how to read it."""
        return f"{self.table.title}. {self.table.reading}".strip()


class Picture(NamedTuple):
    """A figure that matplotlib draws when it is wanted."""

    name: str  # of its file, such as ``confusion``
    caption: str  # below it
    alt: str  # what those who cannot see it are told
    draw: Callable[[], Drawing]
    wide: bool = False  # takes the whole width of a page
    finder: bool = False  # its marks can be searched for by their texts

    def save(
        self, file: IO[Any] | Path, kind: str, text_as_outlines: bool = True, **options: Any
    ) -> Mapping[str, Sequence[str]]:
        """Draws it into a file, the same each time; returns what its marks say, see `Drawing`.

        Names are drawn as they are: a ``$`` in one starts no formula. Raises `UserError` without matplotlib.
        """
        try:
            from matplotlib import rc_context
        except ImportError:
            raise UserError("Figures need matplotlib.", hint='pip install -c constraints.txt -e ".[plot]"') from None
        fonts = "path" if text_as_outlines else "none"
        with rc_context({"text.parse_math": False, "svg.hashsalt": self.name, "svg.fonttype": fonts}):
            figure, texts = self.draw()
            figure.savefig(file, format=kind, bbox_inches="tight", **options)
        return texts


class Thumbnail(NamedTuple):
    """A small JPEG and what it shows."""

    jpeg: bytes
    alt: str
    caption: str


class Strip(NamedTuple):
    """Pictures in a row under a heading."""

    heading: str
    text: str
    thumbnails: Sequence[Thumbnail]


class Gallery(NamedTuple):
    """Strips of pictures below each other."""

    name: str
    caption: str
    strips: Sequence[Strip]


class Explorer(NamedTuple):
    """A tree to walk through and test images to look through, for a page alone; `explorer.js` says what it reads."""

    name: str  # of the block
    caption: str  # how to read the tree
    data: Mapping[str, Any]  # what is drawn and listed, as JSON can hold it
    pictures: Mapping[int, bytes]  # JPEG of some of the images, by their place in the list
    missing: str = ""  # why there are no pictures, if so


Block: TypeAlias = Paragraph | Findings | Tiles | Sheet | Picture | Gallery | Explorer


class Section(NamedTuple):
    """A part of a report."""

    slug: str  # its place in the page
    title: str
    lead: str = ""  # the finding in a sentence or two
    blocks: Sequence[Block] = ()  # what shows it
    omitted: str = ""  # why it does not apply, if so


def no_pictures(why: str) -> Paragraph:
    """In the place of a gallery."""
    return Paragraph(f"No pictures: {why}", is_note=True)


def shown_of(count: int, shown: int) -> str:
    """`` (8 of 20)`` for a title where not all is shown, else nothing."""
    return f" ({shown} of {count})" if count > shown else ""


def percent(share: float, decimals: int = 0) -> str:
    """A share in words: ``61 %``, in one line."""
    return f"{100 * share:.{decimals}f}\u00a0%"


def meaning(column: Column) -> str:
    """What a column of a metric holds, by its key; empty of any other."""
    metric, _, decoder = column.key.partition("@")
    if metric.startswith("accuracy/"):
        return f"share of images whose {metric.removeprefix('accuracy/')} is right, of those that have one"
    found = _glossary()["metrics"].get(metric, "")
    read = _glossary()["decoders"].get(decoder, "") if found and metric not in ("leaf_accuracy", "ece", "haurc") else ""
    return f"{found} ({read})" if read else found


@cache
def _glossary() -> Mapping[str, Mapping[str, Any]]:
    """What words of a page mean: metrics and decoders by their names, others by the sheet they stand in."""
    path = Path(__file__).with_name("glossary.yaml")
    found: Mapping[str, Mapping[str, Any]] = yaml.safe_load(path.read_text("utf-8"))
    return found
