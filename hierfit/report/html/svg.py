"""A matplotlib figure as SVG inside a page: the page's font and colours, and marks that say what they are."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from hierfit.report.drawing.style import GRID, INK, MUTED, PAPER

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from matplotlib.figure import Figure

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", PAPER: "paper"}
_COLOUR = re.compile("|".join(_VARIABLES), re.IGNORECASE)
_FONT = re.compile(r"font: (?:[\w-]+ )*?([\d.]+)px [^;]*")  # size and family at once
_FAMILY = re.compile(r"font-family: [^;]*;? ?")
_POINT = 4 / 3  # CSS pixels


def inline(figure: Figure, name: str, alt: str, said: Mapping[str, Sequence[str]]) -> str:
    """SVG text of a figure for the body of a page.

    Args:
        figure: Drawn with the colours of `hierfit.report.drawing.style`.
        name: Unique in the page; it keeps the ids of figures apart.
        alt: What it shows, for those who cannot see it.
        said: For the gid of each group of marks a text a mark, in order.
    """
    from matplotlib import rc_context

    file = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": name}), warnings.catch_warnings():
        # Scripts that matplotlib's font lacks: the browser has its own.
        warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font")
        stamp = {"Date": None, "Creator": None}
        figure.savefig(file, format="svg", transparent=True, bbox_inches="tight", pad_inches=0.04, metadata=stamp)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    root = ElementTree.fromstring(re.sub(r"<!DOCTYPE[^>]*>", "", file.getvalue()))
    for child in root.findall(f"{{{_SVG}}}metadata"):
        root.remove(child)
    for gid, texts in said.items():
        _label(root, gid, texts)
    _name_ids(root, name)
    for element in root.iter():
        style = element.get("style")
        if style is not None:
            element.set("style", _themed(style))
    width = float(root.get("viewBox", "0 0 0 0").split()[2]) * _POINT
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("style", f"width: {width:.0f}px")
    root.set("role", "img")
    root.set("aria-label", alt)
    return ElementTree.tostring(root, encoding="unicode")


def _label(root: Element, gid: str, texts: Sequence[str]) -> None:
    """Gives each mark of a group its text as a title, which browsers show and scripts find."""
    group = root.find(f".//*[@id='{gid}']")
    if group is None:
        return
    marks = list(_marks(group))
    if len(marks) != len(texts):
        raise ValueError(f"group {gid!r} has {len(marks)} marks and {len(texts)} texts")
    for mark, text in zip(marks, texts, strict=True):
        ElementTree.SubElement(mark, f"{{{_SVG}}}title").text = text
        mark.set("class", "mark")


def _marks(element: Element) -> Iterator[Element]:
    """Drawn elements below a group in their order; definitions are not drawn."""
    for child in element:
        tag = child.tag.rpartition("}")[2]
        if tag in ("path", "use"):
            yield child
        elif tag != "defs":
            yield from _marks(child)


def _name_ids(root: Element, name: str) -> None:
    """Makes ids that something refers to unique in the page; others go."""
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    for element in root.iter():
        own = element.get("id")
        if own is not None:
            if own in used:
                element.set("id", f"{name}-{own}")
            else:
                del element.attrib["id"]
        for key, value in list(element.attrib.items()):
            if key.endswith("href") and value.startswith("#"):
                element.set(key, f"#{name}-{value[1:]}")
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{name}-"))


def _themed(style: str) -> str:
    style = _FAMILY.sub("", _FONT.sub(r"font-size: \1px", style))
    return _COLOUR.sub(lambda found: f"var(--{_VARIABLES[found[0].upper()]})", style)
